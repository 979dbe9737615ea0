/** Prints the table of settings for the README. */

import { reference } from "../config/settings.js";

process.stdout.write(`${reference()}\n`);
