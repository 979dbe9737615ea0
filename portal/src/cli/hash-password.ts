/** Reads a password from standard input, and prints its hash for PORTAL_PASSWORD_HASH. */

import { text } from "node:stream/consumers";

import { hashPassword, LEAST_CHARACTERS, MOST_BYTES } from "../auth/password.js";

if (process.stdin.isTTY) {
  process.stderr.write("type the password and Enter, then Ctrl-D (it shows on this terminal):\n");
}
const password = (await text(process.stdin)).replace(/\r?\n$/, "");
if (password.length < LEAST_CHARACTERS || Buffer.byteLength(password) > MOST_BYTES) {
  process.stderr.write(
    `a password has at least ${String(LEAST_CHARACTERS)} characters and at most ${String(MOST_BYTES)} bytes\n`,
  );
  process.exitCode = 2;
} else {
  process.stdout.write(`${await hashPassword(password)}\n`);
}
