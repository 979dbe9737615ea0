import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { Database } from "../src/store/database.js";
import { CannotOpenDatabase, StoreError } from "../src/store/errors.js";
import { Connection } from "../src/store/sqlite.js";
import { WorkshopStore } from "../src/store/workshops.js";
import { temporaryFolder } from "./helpers/portal.js";
import { asNobody } from "./helpers/nobody.js";

const IMPATIENT = { patience: 100 };

let folder: string;
let file: string;
beforeEach(() => {
  folder = temporaryFolder();
  file = join(folder, "portal.db");
});
afterEach(() => {
  chmodSync(folder, 0o700);
  rmSync(folder, { recursive: true });
});

/** Opens the database for a while. */
async function withDatabase(use: (database: Database, workshops: WorkshopStore) => Promise<void>): Promise<void> {
  const database = await Database.open(folder, IMPATIENT);
  try {
    await use(database, new WorkshopStore(database));
  } finally {
    database.close();
  }
}

/** Does something to the file that the portal does not do. */
function meddle(...statements: string[]): void {
  const connection = new Connection(file);
  for (const statement of statements) {
    connection.exec(statement);
  }
  connection.close();
}

async function makeOne(): Promise<void> {
  await withDatabase(async (_database, workshops) => {
    await workshops.insert({ id: "rust-101", seats: 3, sealedKey: null, by: "ada" });
  });
}

async function expectOne(): Promise<void> {
  await withDatabase(async (_database, workshops) => {
    expect(await workshops.list()).toMatchObject([{ id: "rust-101", seats: 3, wish: "created" }]);
  });
}

describe("a database", () => {
  it("keeps what was written", async () => {
    await makeOne();
    await expectOne();
  });

  it("can be made in a folder that is not there yet", async () => {
    const deeper = join(folder, "a", "b");
    const database = await Database.open(deeper, IMPATIENT);
    database.close();
    expect(readFileSync(join(deeper, "portal.db")).subarray(0, 15).toString()).toBe("SQLite format 3");
  });

  it("has every commit on the disk before it counts", async () => {
    await withDatabase(async (database) => {
      const pragmas = await database.read((connection) => [
        connection.pragma("synchronous"),
        connection.all("PRAGMA journal_mode"),
      ]);
      // 3 is EXTRA: the removal of the journal, which is the commit, is synchronized as well.
      expect(pragmas).toEqual([3, [{ journal_mode: "delete" }]]);
    });
  });

  it("undoes a transaction that fails, and goes on", async () => {
    await withDatabase(async (database, workshops) => {
      const failing = database.transaction((connection) => {
        connection.run("INSERT INTO sessions VALUES ('a', 'ada', 'x', 1)");
        connection.run("INSERT INTO sessions VALUES ('a', 'ada', 'x', 1)");
      });
      await expect(failing).rejects.toMatchObject({ code: "database_failed" });
      expect(await database.read((connection) => connection.all("SELECT * FROM sessions"))).toEqual([]);
      expect(await workshops.list()).toEqual([]);
    });
  });

  it("overwrites what is deleted", async () => {
    const marked = "sealed-key-to-look-for-in-the-file";
    await withDatabase(async (_database, workshops) => {
      await workshops.insert({ id: "rust-101", seats: 3, sealedKey: marked, by: "ada" });
      expect(readFileSync(file, "latin1")).toContain(marked);
      const wished = await workshops.wish("rust-101", "ada", () => ({ wish: "deleted" }));
      await workshops.remove("rust-101", wished?.facts.revision ?? 0);
    });
    expect(readFileSync(file, "latin1")).not.toContain(marked);
  });
});

describe("a database that cannot be used", () => {
  it("of a newer version is refused and left as it is", async () => {
    await makeOne();
    meddle("PRAGMA user_version = 2");
    const before = readFileSync(file);
    await expect(Database.open(folder, IMPATIENT)).rejects.toThrow(/newer portal \(schema 2, this one knows 1\)/);
    expect(readFileSync(file).equals(before)).toBe(true);
    meddle("PRAGMA user_version = 1");
    await expectOne();
  });

  it("of another program is refused and left as it is", async () => {
    meddle("CREATE TABLE recipes (name TEXT)");
    await expect(Database.open(folder, IMPATIENT)).rejects.toThrow(/is not a database of the portal/);
    meddle("INSERT INTO recipes VALUES ('still here')");
  });

  it("that is no database is refused and left as it is", async () => {
    writeFileSync(file, "dear diary, ".repeat(1000));
    await expect(Database.open(folder, IMPATIENT)).rejects.toThrow(CannotOpenDatabase);
    expect(readFileSync(file, "utf8")).toBe("dear diary, ".repeat(1000));
  });

  it("because the folder cannot be made says so", async () => {
    writeFileSync(join(folder, "file"), "");
    const opening = Database.open(join(folder, "file", "data"), IMPATIENT);
    await expect(opening).rejects.toThrow(/correct PORTAL_DATA_DIR/);
  });

  it("because another portal has it says so, and can be used when that has ended", async () => {
    await withDatabase(async () => {
      await expect(Database.open(folder, IMPATIENT)).rejects.toThrow(/another portal uses/);
    });
    await makeOne();
  });
});

describe("a database that another process holds", () => {
  it("is waited for", async () => {
    await withDatabase(async (_database, workshops) => {
      const other = new Connection(file);
      other.exec("BEGIN EXCLUSIVE");
      const patient = new Connection(file);
      patient.close();
      const inserting = workshops.insert({ id: "rust-101", seats: 3, sealedKey: null, by: "ada" });
      other.exec("COMMIT");
      other.close();
      expect(await inserting).toMatchObject({ id: "rust-101" });
    });
  });

  it("is an error after a while, that changes nothing", async () => {
    await makeOne();
    await withDatabase(async (_database, workshops) => {
      const other = new Connection(file);
      other.exec("BEGIN EXCLUSIVE");
      const wished = workshops.wish("rust-101", "ada", () => ({ wish: "running" }));
      await expect(wished).rejects.toMatchObject({ name: "StoreError", code: "database_locked" });
      await expect(workshops.list()).rejects.toThrow(StoreError);
      other.exec("ROLLBACK");
      other.close();
      expect(await workshops.list()).toMatchObject([{ wish: "created", revision: 1 }]);
    });
  });

  it("is an error at the start, that says so", async () => {
    await makeOne();
    const other = new Connection(file);
    other.exec("BEGIN EXCLUSIVE");
    await expect(Database.open(folder, IMPATIENT)).rejects.toThrow(/another process holds .*portal\.db/);
    other.exec("ROLLBACK");
    other.close();
    await expectOne();
  });

  it("because it is read there for long cannot be written, and loses nothing", async () => {
    await makeOne();
    await withDatabase(async (_database, workshops) => {
      const other = new Connection(file);
      other.exec("BEGIN");
      other.all("SELECT * FROM workshops");
      const inserting = workshops.insert({ id: "rust-102", seats: 1, sealedKey: null, by: "ada" });
      await expect(inserting).rejects.toMatchObject({ code: "database_locked" });
      other.exec("COMMIT");
      other.close();
      expect(await workshops.insert({ id: "rust-103", seats: 1, sealedKey: null, by: "ada" })).toBeDefined();
      expect((await workshops.list()).map(({ id }) => id)).toEqual(["rust-101", "rust-103"]);
    });
  });
});

describe("a database that cannot be written", () => {
  it("is refused at the start, with what to do", async () => {
    await makeOne();
    chmodSync(file, 0o444);
    chmodSync(folder, 0o555);
    await asNobody(async () => {
      await expect(Database.open(folder, IMPATIENT)).rejects.toThrow(/cannot be written: see to its permissions/);
    });
    chmodSync(folder, 0o700);
    chmodSync(file, 0o600);
    await expectOne();
  });

  it("from some moment on can still be read, and says so when it is written", async () => {
    await makeOne();
    await withDatabase(async (_database, workshops) => {
      chmodSync(file, 0o444);
      chmodSync(folder, 0o555);
      await asNobody(async () => {
        expect(await workshops.list()).toHaveLength(1);
        const wished = workshops.wish("rust-101", "ada", () => ({ wish: "running" }));
        await expect(wished).rejects.toMatchObject({ code: "database_read_only" });
        expect(await workshops.list()).toMatchObject([{ wish: "created" }]);
      });
      chmodSync(folder, 0o700);
      chmodSync(file, 0o600);
      expect(await workshops.wish("rust-101", "ada", () => ({ wish: "running" }))).toMatchObject({ changed: true });
    });
  });
});

describe("what becomes of a wish", () => {
  it("counts only for the wish that it is of", async () => {
    await makeOne();
    await withDatabase(async (_database, workshops) => {
      const first = await workshops.wish("rust-101", "ada", () => ({ wish: "running" }));
      const second = await workshops.wish("rust-101", "grace", () => ({ wish: "stopped" }));
      const late = first?.facts.revision ?? 0;
      await workshops.reach("rust-101", late);
      await workshops.fail("rust-101", late, { code: "late", message: "" });
      await workshops.remove("rust-101", late);
      expect(await workshops.get("rust-101")).toEqual(second?.facts);
      expect(second?.facts).toMatchObject({ wish: "stopped", reached: false, error: null, changedBy: "grace" });
    });
  });

  it("decides what is taken up again: what was not given up, and deletions", async () => {
    await withDatabase(async (_database, workshops) => {
      const error = { code: "unreachable", message: "is it running?" };
      for (const [id, wish, end] of [
        ["under-way", "running", "open"],
        ["stopping", "stopped", "open"],
        ["done", "running", "reached"],
        ["given-up", "running", "failed"],
        ["stop-given-up", "stopped", "failed"],
        ["delete-given-up", "deleted", "failed"],
      ] as const) {
        await workshops.insert({ id, seats: 1, sealedKey: null, by: "ada" });
        const revision = (await workshops.wish(id, "ada", () => ({ wish })))?.facts.revision ?? 0;
        if (end === "reached") {
          await workshops.reach(id, revision);
        } else if (end === "failed") {
          await workshops.fail(id, revision, error);
        }
      }
      await workshops.insert({ id: "never-started", seats: 1, sealedKey: null, by: "ada" });
      expect(await workshops.resume()).toEqual(["delete-given-up", "stopping", "under-way"]);
      expect(await workshops.get("given-up")).toMatchObject({ reached: false, error });
      expect(await workshops.get("stop-given-up")).toMatchObject({ reached: false, error });
      expect(await workshops.get("delete-given-up")).toMatchObject({ reached: false, error: null });
    });
  });
});
