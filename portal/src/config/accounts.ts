import { parsePasswordHash, type PasswordHash } from "../auth/password.js";
import type { Reader } from "./reader.js";
import { accountName } from "./values.js";

/** Who may sign in: the hash of the password by the name of the account. */
export type Accounts = ReadonlyMap<string, PasswordHash>;

/** Reads the accounts from their variables and files. What is wrong goes to the reader's problems. */
export function readAccounts(reader: Reader): Accounts {
  const accounts = new Map<string, PasswordHash>();
  const before = reader.problems.length;
  const name = reader.value("PORTAL_USER", accountName);
  const hash = reader.valueOrFile("PORTAL_PASSWORD_HASH", "PORTAL_PASSWORD_HASH_FILE", (text) =>
    parsePasswordHash(text.trim()),
  );
  if (name !== undefined && hash !== undefined) {
    accounts.set(name, hash);
  }
  const lines = reader.file("PORTAL_USERS_FILE")?.split(/\r?\n/) ?? [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() !== "" && !line.trimStart().startsWith("#")) {
      reader.attempt("PORTAL_USERS_FILE", () => {
        addLine(accounts, line.trim(), index + 1);
      });
    }
  }
  if (accounts.size === 0 && reader.problems.length === before) {
    reader.problems.push(
      "nobody could sign in: set PORTAL_PASSWORD_HASH, PORTAL_PASSWORD_HASH_FILE or PORTAL_USERS_FILE " +
        "(npm run hash-password makes a hash)",
    );
  }
  return accounts;
}

function addLine(accounts: Map<string, PasswordHash>, line: string, number: number): void {
  const at = `line ${String(number)}`;
  const colon = line.indexOf(":");
  if (colon < 0) {
    throw new Error(`${at}: must be name:hash`);
  }
  let name: string;
  let hash: PasswordHash;
  try {
    name = accountName(line.slice(0, colon).trim());
    hash = parsePasswordHash(line.slice(colon + 1).trim());
  } catch (error) {
    throw new Error(`${at}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  if (accounts.has(name)) {
    throw new Error(`${at}: the account ${name} is there twice`);
  }
  accounts.set(name, hash);
}
