import type { Database } from "./database.js";

/** A row of the table. */
export interface SessionRow {
  /** The hash of the cookie's token. */
  readonly id: string;
  readonly name: string;
  /** The hash of the password's hash: with another password the session is over. */
  readonly credential: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** The sessions that are open. Every function rejects with `StoreError`. */
export class SessionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Adds a session, and drops those that are over by `now`. */
  async insert(row: SessionRow, now: number): Promise<void> {
    await this.#database.transaction((connection) => {
      connection.run("DELETE FROM sessions WHERE expires_at <= ?", now);
      connection.run(
        "INSERT INTO sessions (id, name, credential, expires_at) VALUES (?, ?, ?, ?)",
        row.id,
        row.name,
        row.credential,
        row.expiresAt,
      );
    });
  }

  async find(id: string): Promise<SessionRow | undefined> {
    const [found] = await this.#database.read(
      (connection) =>
        connection.all("SELECT name, credential, expires_at FROM sessions WHERE id = ?", id) as {
          name: string;
          credential: string;
          expires_at: number;
        }[],
    );
    return found && { id, name: found.name, credential: found.credential, expiresAt: found.expires_at };
  }

  async remove(id: string): Promise<void> {
    await this.#database.transaction((connection) => {
      connection.run("DELETE FROM sessions WHERE id = ?", id);
    });
  }
}
