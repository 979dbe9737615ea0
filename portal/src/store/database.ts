/**
 * The SQLite file, and how it is used.
 *
 * - It keeps a rollback journal and no write-ahead log. One process writes, a few rows at a time, so there is nothing to
 *   gain from a log; and without one the file lies on any file system, and needs no shared memory. After a crash a
 *   journal may be left beside the file: it belongs to it, for the next start undoes with it what was half written.
 * - Every commit is on the disk before it counts, and what is deleted is overwritten. A commit is the removal of the
 *   journal, which `synchronous = EXTRA` has written to the disk, too. With `FULL` a power cut could bring the journal
 *   back, and with it undo the last commit.
 * - SQLite's own waiting for a lock would stop the whole process. So it does not wait, and work that meets a lock is
 *   tried again from outside for some seconds, while other requests go on.
 * - `portal.lock` beside it is held as long as a portal runs: two would both work on the same workshops. The kernel lets
 *   go of it whatever way the process ends.
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { CannotOpenDatabase, isLocked, isOfSqlite, storeError } from "./errors.js";
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION } from "./schema.js";
import { Connection } from "./sqlite.js";

const PAUSE = 25;

/** How a database is opened. */
export interface DatabaseOptions {
  /** How long work is tried again while another process holds the file, in milliseconds. */
  readonly patience?: number;
}

/** The portal's database. */
export class Database {
  readonly #connection: Connection;
  readonly #lock: Connection;
  readonly #file: string;
  readonly #patience: number;

  private constructor(connection: Connection, lock: Connection, file: string, patience: number) {
    this.#connection = connection;
    this.#lock = lock;
    this.#file = file;
    this.#patience = patience;
  }

  /**
   * Opens the database of a folder, and makes both when they are missing.
   *
   * @throws CannotOpenDatabase
   */
  static async open(folder: string, { patience = 5000 }: DatabaseOptions = {}): Promise<Database> {
    const file = join(folder, "portal.db");
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new CannotOpenDatabase(`cannot make ${folder}: ${text(error)}: correct PORTAL_DATA_DIR`, error);
    }
    const lock = await lockFolder(folder, patience);
    let connection: Connection | undefined;
    try {
      const opened = (connection = new Connection(file));
      await whileLocked(patience, () => {
        prepare(opened, file);
      });
      return new Database(opened, lock, file, patience);
    } catch (error) {
      connection?.close();
      lock.close();
      throw error instanceof CannotOpenDatabase
        ? error
        : new CannotOpenDatabase(storeError(error, file).message, error);
    }
  }

  /**
   * Runs statements in one transaction: all of them take effect, or none. When `work` throws it is none.
   *
   * @throws StoreError, and whatever `work` throws.
   */
  async transaction<Value>(work: (connection: Connection) => Value): Promise<Value> {
    return this.#attempt(() => inTransaction(this.#connection, () => work(this.#connection)));
  }

  /**
   * Runs statements that only read.
   *
   * @throws StoreError
   */
  async read<Value>(work: (connection: Connection) => Value): Promise<Value> {
    return this.#attempt(() => work(this.#connection));
  }

  /** Closes the file and lets go of the folder. */
  close(): void {
    this.#connection.close();
    this.#lock.close();
  }

  async #attempt<Value>(work: () => Value): Promise<Value> {
    try {
      return await whileLocked(this.#patience, work);
    } catch (error) {
      // What the work itself throws, such as a refusal, is passed on as it is.
      throw isOfSqlite(error) ? storeError(error, this.#file) : error;
    }
  }
}

/** Tries `work` until it meets no lock, or for so many milliseconds. */
async function whileLocked<Value>(patience: number, work: () => Value): Promise<Value> {
  const until = Date.now() + patience;
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!isLocked(error) || Date.now() >= until) {
        throw error;
      }
    }
    await sleep(PAUSE);
  }
}

function inTransaction<Value>(connection: Connection, work: () => Value): Value {
  connection.exec("BEGIN IMMEDIATE");
  try {
    const value = work();
    connection.exec("COMMIT");
    return value;
  } catch (error) {
    try {
      connection.exec("ROLLBACK");
    } catch {
      // SQLite has rolled back by itself; the first error is the one that matters.
    }
    throw error;
  }
}

async function lockFolder(folder: string, patience: number): Promise<Connection> {
  const file = join(folder, "portal.lock");
  let connection: Connection | undefined;
  try {
    const opened = (connection = new Connection(file));
    await whileLocked(patience, () => opened.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE"));
    return opened;
  } catch (error) {
    connection?.close();
    if (isLocked(error)) {
      throw new CannotOpenDatabase(`another portal uses ${folder}: stop it, or set another PORTAL_DATA_DIR`, error);
    }
    throw new CannotOpenDatabase(storeError(error, file).message, error);
  }
}

function prepare(connection: Connection, file: string): void {
  connection.exec("PRAGMA busy_timeout = 0; PRAGMA synchronous = EXTRA; PRAGMA secure_delete = ON");
  inTransaction(connection, () => {
    const version = connection.pragma("user_version");
    const owner = connection.pragma("application_id");
    const isEmpty = connection.all("SELECT 1 FROM sqlite_master LIMIT 1").length === 0;
    if (version === 0 && owner === 0 && isEmpty) {
      connection.exec(SCHEMA);
      connection.exec(`PRAGMA application_id = ${String(APPLICATION_ID)}`);
      connection.exec(`PRAGMA user_version = ${String(SCHEMA_VERSION)}`);
    } else if (owner !== APPLICATION_ID) {
      throw new CannotOpenDatabase(`${file} is not a database of the portal: set another PORTAL_DATA_DIR`);
    } else if (version > SCHEMA_VERSION) {
      throw new CannotOpenDatabase(
        `${file} is of a newer portal (schema ${String(version)}, this one knows ${String(SCHEMA_VERSION)}): ` +
          "run that version, or restore a copy from before the upgrade",
      );
    } else if (version < SCHEMA_VERSION) {
      throw new CannotOpenDatabase(`${file} has schema ${String(version)}, which no portal has written`);
    } else {
      // Writes what is there already: whether the file can be written shows now, and not in the middle of a class.
      connection.exec(`PRAGMA user_version = ${String(version)}`);
    }
  });
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
