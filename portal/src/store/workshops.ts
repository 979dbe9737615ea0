import type { Database } from "./database.js";
import type { Connection } from "./sqlite.js";

/** What was asked for a workshop last. */
export type Wish = "created" | "running" | "stopped" | "deleted";

/** Why something failed: a stable word, and a text for people. */
export interface Reason {
  readonly code: string;
  readonly message: string;
}

/** What the portal knows of a workshop. */
export interface Facts {
  readonly id: string;
  /** How many seats it is to have, from number 1. */
  readonly seats: number;
  readonly wish: Wish;
  /** Whether the wish has been carried out. */
  readonly reached: boolean;
  /** Grows with every wish. */
  readonly revision: number;
  /** Why the wish was given up, if so. */
  readonly error: Reason | null;
  /** The api key, encrypted. */
  readonly sealedKey: string | null;
  /** RFC 3339, UTC; the same for `changedAt`. */
  readonly createdAt: string;
  readonly createdBy: string;
  readonly changedAt: string;
  readonly changedBy: string;
}

interface Row {
  id: string;
  seats: number;
  wish: Wish;
  reached: number;
  revision: number;
  error_code: string | null;
  error_message: string | null;
  api_key: string | null;
  created_at: string;
  created_by: string;
  changed_at: string;
  changed_by: string;
}

/** A new workshop. */
export interface NewWorkshop {
  readonly id: string;
  readonly seats: number;
  readonly sealedKey: string | null;
  readonly by: string;
}

/** Decides on a wish from the facts: the next wish, or nothing when there is nothing to do. It may throw. */
export type Decide = (facts: Facts) => { readonly wish: Wish; readonly sealedKey?: string } | undefined;

/** The workshops. Every function rejects with `StoreError`. */
export class WorkshopStore {
  readonly #database: Database;
  readonly #now: () => Date;

  constructor(database: Database, now: () => Date = () => new Date()) {
    this.#database = database;
    this.#now = now;
  }

  /** Rejects when the database cannot be read. */
  async check(): Promise<void> {
    await this.#database.read((connection) => connection.all("SELECT count(*) FROM workshops"));
  }

  /** All of them, by id. */
  async list(): Promise<Facts[]> {
    return this.#database.read((connection) =>
      (connection.all("SELECT * FROM workshops ORDER BY id") as Row[]).map(facts),
    );
  }

  async get(id: string): Promise<Facts | undefined> {
    return this.#database.read((connection) => one(connection, id));
  }

  /** Adds a workshop; nothing when there is one of that id. */
  async insert(workshop: NewWorkshop): Promise<Facts | undefined> {
    const now = this.#now().toISOString();
    return this.#database.transaction((connection) => {
      if (one(connection, workshop.id) !== undefined) {
        return undefined;
      }
      connection.run(
        `INSERT INTO workshops (id, seats, wish, reached, revision, api_key, created_at, created_by, changed_at, changed_by)
           VALUES (?, ?, 'created', 1, 1, ?, ?, ?, ?, ?)`,
        workshop.id,
        workshop.seats,
        workshop.sealedKey,
        now,
        workshop.by,
        now,
        workshop.by,
      );
      return one(connection, workshop.id);
    });
  }

  /** Notes a wish, if `decide` has one. Gives the facts after it, or nothing when there is no such workshop. */
  async wish(
    id: string,
    by: string,
    decide: Decide,
  ): Promise<{ readonly facts: Facts; readonly changed: boolean } | undefined> {
    const now = this.#now().toISOString();
    return this.#database.transaction((connection) => {
      const before = one(connection, id);
      const next = before && decide(before);
      if (before === undefined || next === undefined) {
        return before && { facts: before, changed: false };
      }
      connection.run(
        `UPDATE workshops SET wish = ?, reached = 0, revision = revision + 1, error_code = NULL, error_message = NULL,
             api_key = ?, changed_at = ?, changed_by = ? WHERE id = ?`,
        next.wish,
        next.sealedKey ?? before.sealedKey,
        now,
        by,
        id,
      );
      return { facts: one(connection, id) ?? before, changed: true };
    });
  }

  /** Forgets a workshop that was never started; whether it did. */
  async removeUnstarted(id: string): Promise<boolean> {
    return this.#database.transaction((connection) => {
      const isUnstarted = one(connection, id)?.wish === "created";
      if (isUnstarted) {
        connection.run("DELETE FROM workshops WHERE id = ?", id);
      }
      return isUnstarted;
    });
  }

  /** The ids of workshops whose wish was neither reached nor given up. Deletions that were given up are wished anew. */
  async resume(): Promise<string[]> {
    return this.#database.transaction((connection) => {
      connection.run("UPDATE workshops SET error_code = NULL, error_message = NULL WHERE wish = 'deleted'");
      const rows = connection.all("SELECT id FROM workshops WHERE reached = 0 AND error_code IS NULL ORDER BY id");
      return (rows as { id: string }[]).map((row) => row.id);
    });
  }

  /** The wish of this revision is carried out. Does nothing when there is a newer one. */
  async reach(id: string, revision: number): Promise<void> {
    await this.#database.transaction((connection) => {
      connection.run("UPDATE workshops SET reached = 1 WHERE id = ? AND revision = ?", id, revision);
    });
  }

  /** The wish of this revision is given up. Does nothing when there is a newer one. */
  async fail(id: string, revision: number, reason: Reason): Promise<void> {
    await this.#database.transaction((connection) => {
      connection.run(
        "UPDATE workshops SET error_code = ?, error_message = ? WHERE id = ? AND revision = ?",
        reason.code,
        reason.message,
        id,
        revision,
      );
    });
  }

  /** Forgets a workshop, if this revision, which is of its deletion, is still the last. */
  async remove(id: string, revision: number): Promise<void> {
    await this.#database.transaction((connection) => {
      connection.run("DELETE FROM workshops WHERE id = ? AND revision = ? AND wish = 'deleted'", id, revision);
    });
  }
}

function one(connection: Connection, id: string): Facts | undefined {
  const [row] = connection.all("SELECT * FROM workshops WHERE id = ?", id) as Row[];
  return row && facts(row);
}

function facts(row: Row): Facts {
  return {
    id: row.id,
    seats: row.seats,
    wish: row.wish,
    reached: row.reached === 1,
    revision: row.revision,
    error: row.error_code === null ? null : { code: row.error_code, message: row.error_message ?? "" },
    sealedKey: row.api_key,
    createdAt: row.created_at,
    createdBy: row.created_by,
    changedAt: row.changed_at,
    changedBy: row.changed_by,
  };
}
