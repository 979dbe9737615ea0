/** Prints the OpenAPI document, which is checked in as openapi.json. */

import { openApiDocument } from "../openapi-document.js";

process.stdout.write(await openApiDocument());
