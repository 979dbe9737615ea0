import Libsql from "libsql";

/** What a statement can be given. Nothing else: the library ends the process when it is given a single buffer. */
export type SqlValue = string | number | null;

/** A connection to a SQLite file, in the few ways that the portal uses one. */
export class Connection {
  readonly #database: InstanceType<typeof Libsql>;

  /** Opens a file, and makes it when it is missing. */
  constructor(file: string) {
    try {
      this.#database = new Libsql(file);
    } catch (error) {
      // The library's error has SQLite's code (14, SQLITE_CANTOPEN) in its text only.
      throw Object.assign(new Error(`cannot open ${file}`, { cause: error }), { rawCode: 14 });
    }
  }

  /** Runs statements that take no values. */
  exec(sql: string): void {
    this.#database.exec(sql);
  }

  /** Runs one statement. */
  run(sql: string, ...values: readonly SqlValue[]): void {
    // As one array: the library takes a single value that is an object for named ones.
    this.#database.prepare(sql).run([...values]);
  }

  /** All rows of a query. They are read to the end, so that no statement goes on holding the file. */
  all(sql: string, ...values: readonly SqlValue[]): unknown[] {
    return this.#database.prepare(sql).all([...values]);
  }

  /** The number that a pragma has. */
  pragma(name: string): number {
    const [row] = this.all(`PRAGMA ${name}`) as Readonly<Record<string, number>>[];
    return row?.[name] ?? 0;
  }

  close(): void {
    this.#database.close();
  }
}
