/** What can be wrong with the database. */
export type StoreErrorCode = "database_locked" | "database_read_only" | "database_full" | "database_failed";

/** The database did not do what was asked; nothing was changed. */
export class StoreError extends Error {
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "StoreError";
    this.code = code;
  }
}

/** The portal cannot start with this database. The message says why, and what to do. */
export class CannotOpenDatabase extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "CannotOpenDatabase";
  }
}

// The primary result codes of SQLite, which are the low byte of the extended ones.
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const FULL = 13;
const CANTOPEN = 14;

/** What an error of SQLite means, in words for a person. */
export function storeError(error: unknown, file: string): StoreError {
  const message = error instanceof Error ? error.message : String(error);
  switch (resultCode(error)) {
    case BUSY:
    case LOCKED:
      return new StoreError("database_locked", `another process holds ${file}: end it, or try again`, error);
    case READONLY:
    case CANTOPEN:
      return new StoreError("database_read_only", `${file} cannot be written: see to its permissions and mount`, error);
    case FULL:
      return new StoreError("database_full", `there is no room left for ${file}: make room on the disk`, error);
    default:
      return new StoreError("database_failed", `${file}: ${message}`, error);
  }
}

/** Whether an error is of SQLite. */
export function isOfSqlite(error: unknown): boolean {
  return resultCode(error) !== undefined;
}

/** Whether another try may help. */
export function isLocked(error: unknown): boolean {
  const code = resultCode(error);
  return code === BUSY || code === LOCKED;
}

/** The primary result code; nothing for an error that is not of SQLite. */
function resultCode(error: unknown): number | undefined {
  const hasCode = error instanceof Error && "rawCode" in error && typeof error.rawCode === "number";
  return hasCode ? (error.rawCode as number) & 0xff : undefined;
}
