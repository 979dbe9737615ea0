/** What callers see when the database cannot be used. */

import { chmodSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it, vi } from "vitest";

import { answer, classBody, events, resultBody, scripted, seatBody } from "../src/services/test/scripted-server.js";
import { Database } from "../src/store/database.js";
import { Connection } from "../src/store/sqlite.js";
import { Browser } from "./helpers/browser.js";
import { asNobody } from "./helpers/nobody.js";
import { PASSWORDS, withPortal, type TestPortal } from "./helpers/portal.js";
import { until } from "./helpers/until.js";

const IMPATIENT = { databasePatience: 100 };

/** Tries everything that changes something, and gives the codes and statuses of the answers. */
async function tryAll({ url }: TestPortal, ada: Browser): Promise<string[]> {
  const answers = [
    await new Browser(url).post("/api/session", { name: "grace", password: PASSWORDS.grace }),
    await ada.post("/api/workshops", { id: "new", seats: 1, api_key: "sk-canary-key" }),
    await ada.post("/api/workshops/abc/start", { api_key: "sk-canary-key" }),
    await ada.delete("/api/workshops/abc"),
    await ada.delete("/api/session"),
  ];
  return answers.map(({ status, body }) => `${String(status)} ${body?.error?.code ?? "no error"}`);
}

async function expectUnchanged(portal: TestPortal, ada: Browser): Promise<void> {
  const { body } = await ada.get("/api/workshops");
  expect(body?.workshops).toMatchObject([{ id: "abc", state: "created", has_api_key: false }]);
  expect(portal.log()).not.toContain("sk-canary-");
  expect((await ada.post("/api/workshops", { id: "after", seats: 1 })).status).toBe(201);
}

describe("a locked database", () => {
  it("is a 503 for everything, and nothing is lost", async () => {
    await withPortal(
      async (portal) => {
        const ada = await portal.browser();
        await ada.post("/api/workshops", { id: "abc", seats: 1 });
        const other = new Connection(join(portal.folder, "data", "portal.db"));
        other.exec("BEGIN EXCLUSIVE");
        expect(new Set(await tryAll(portal, ada))).toEqual(new Set(["503 database_locked"]));
        for (const path of ["/api/health", "/api/session", "/api/workshops", "/api/workshops/abc"]) {
          const answer = await ada.get(path);
          expect([answer.status, answer.body?.error?.code]).toEqual([503, "database_locked"]);
          expect(answer.headers.get("retry-after")).toBe("1");
        }
        other.exec("ROLLBACK");
        other.close();
        await expectUnchanged(portal, ada);
      },
      {},
      IMPATIENT,
    );
  });
});

describe("a database that became read-only", () => {
  it("is a 503 for what changes something, and can still be read", async () => {
    await withPortal(
      async (portal) => {
        const ada = await portal.browser();
        await ada.post("/api/workshops", { id: "abc", seats: 1 });
        const data = join(portal.folder, "data");
        chmodSync(join(data, "portal.db"), 0o444);
        chmodSync(data, 0o555);
        await asNobody(async () => {
          expect(new Set(await tryAll(portal, ada))).toEqual(new Set(["503 database_read_only"]));
          expect((await ada.get("/api/workshops/abc")).body?.state).toBe("created");
          expect((await ada.get("/api/health")).status).toBe(200);
        });
        chmodSync(data, 0o700);
        chmodSync(join(data, "portal.db"), 0o600);
        await expectUnchanged(portal, ada);
      },
      {},
      IMPATIENT,
    );
  });
});

describe("a database without room", () => {
  it("is a 507 for what needs some, and nothing is lost", async () => {
    const opening = vi.spyOn(Database, "open");
    await withPortal(async (portal) => {
      const database = await (opening.mock.results.at(-1)?.value as Promise<Database>);
      const ada = await portal.browser();
      await ada.post("/api/workshops", { id: "abc", seats: 1 });
      const most = (pages: number) =>
        database.read((connection) => {
          connection.exec(`PRAGMA max_page_count = ${String(pages)}`);
        });
      // Never less than it has.
      await most(1);
      const large = { id: "large", seats: 1, api_key: `sk-canary-${"k".repeat(4000)}` };
      const made = await until("the room to be used up", async () => {
        const answer = await ada.post("/api/workshops", large);
        large.id = `large-${String(Math.random()).slice(2, 10)}`;
        return answer.status === 201 ? undefined : answer;
      });
      expect([made.status, made.body?.error?.code]).toEqual([507, "database_full"]);
      expect((await ada.get(`/api/workshops/${large.id}`)).status).toBe(404);
      expect((await ada.get("/api/workshops/abc")).body?.state).toBe("created");
      expect((await ada.get("/api/health")).status).toBe(200);
      await most(1_000_000);
      expect((await ada.post("/api/workshops", large)).status).toBe(201);
      expect(portal.log()).not.toContain("sk-canary-");
    });
  });
});

/** A service at which a class is under way until it is let finish, each time anew. */
async function withClassUnderWay(
  use: (portal: TestPortal, ada: Browser, finish: () => void) => Promise<void>,
): Promise<void> {
  let finish: (() => void) | undefined;
  let isUp = false;
  const done = events(["done", classBody(resultBody(1))]);
  await using service = await scripted((response, seen) => {
    if (seen.method === "GET") {
      return answer(200, { workshop: "abc", seats: isUp ? [seatBody(1)] : [] })(response, seen);
    }
    if (isUp) {
      return done(response, seen);
    }
    finish = () => {
      isUp = true;
      void done(response, seen);
    };
  });
  await withPortal(
    async (portal) => {
      const ada = await portal.browser();
      await ada.post("/api/workshops", { id: "abc", seats: 1 });
      await ada.post("/api/workshops/abc/start");
      await until("the start to reach the service", async () => finish !== undefined);
      await use(portal, ada, () => finish?.());
      const { counts, reason } = await ada.state("abc", "running");
      expect([counts?.running, reason]).toEqual([1, null]);
      expect(portal.log()).toContain("work is done");
    },
    { ORCHESTRATOR_URL: service.url },
    IMPATIENT,
  );
}

/** Waits until the portal could not note that the class is up. */
async function failedToNote({ log }: TestPortal): Promise<void> {
  await until("the portal to fail to note it", async () => log().includes("work on a workshop failed"));
  expect(log()).not.toContain("work is done");
}

describe("a class that comes up while the database", () => {
  it("is locked is noted as running when the lock is gone", async () => {
    await withClassUnderWay(async (portal, ada, finish) => {
      const other = new Connection(join(portal.folder, "data", "portal.db"));
      other.exec("BEGIN EXCLUSIVE");
      finish();
      await failedToNote(portal);
      expect((await ada.get("/api/workshops/abc")).body?.error?.code).toBe("database_locked");
      other.exec("ROLLBACK");
      other.close();
    });
  });

  it("is read-only is noted as running when it can be written again, and says meanwhile why not", async () => {
    await withClassUnderWay(async (portal, ada, finish) => {
      const data = join(portal.folder, "data");
      chmodSync(join(data, "portal.db"), 0o444);
      chmodSync(data, 0o555);
      try {
        await asNobody(async () => {
          finish();
          await failedToNote(portal);
          expect((await ada.state("abc", "provisioning")).reason?.code).toBe("internal");
        });
      } finally {
        chmodSync(data, 0o700);
        chmodSync(join(data, "portal.db"), 0o600);
      }
    });
  });
});
