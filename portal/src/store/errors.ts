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

/** What an error of SQLite means, in words for a person. */
export function storeError(error: unknown, file: string): StoreError {
  if (error instanceof StoreError) {
    return error;
  }
  const code = sqliteCode(error);
  if (/^SQLITE_(?:BUSY|LOCKED)/.test(code)) {
    return new StoreError("database_locked", `another process holds ${file}: end it, or try again`, error);
  }
  if (/^SQLITE_(?:READONLY|CANTOPEN|PERM)/.test(code)) {
    return new StoreError(
      "database_read_only",
      `${file} cannot be written: see to its permissions and its mount`,
      error,
    );
  }
  if (code.startsWith("SQLITE_FULL")) {
    return new StoreError("database_full", `there is no room left for ${file}: make room on the disk`, error);
  }
  const message = error instanceof Error ? error.message : String(error);
  return new StoreError("database_failed", `${file}: ${message}`, error);
}

/** Whether another try may help. */
export function isLocked(error: unknown): boolean {
  return /^SQLITE_(?:BUSY|LOCKED)/.test(sqliteCode(error));
}

function sqliteCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}
