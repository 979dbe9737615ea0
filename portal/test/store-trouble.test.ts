/** What callers see when the database cannot be used. */

import { chmodSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { Connection } from "../src/store/sqlite.js";
import { Browser } from "./helpers/browser.js";
import { asNobody } from "./helpers/nobody.js";
import { PASSWORDS, withPortal, type TestPortal } from "./helpers/portal.js";

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

describe("a database that is locked while a wish is carried out", () => {
  it("does not lose it: it is carried out when the lock is gone", async () => {
    await withPortal(
      async (portal) => {
        const ada = await portal.browser();
        await ada.post("/api/workshops", { id: "abc", seats: 1 });
        await ada.post("/api/workshops/abc/start");
        const other = new Connection(join(portal.folder, "data", "portal.db"));
        await ada.state("abc", "provisioning");
        other.exec("BEGIN EXCLUSIVE");
        expect((await ada.get("/api/workshops")).status).toBe(503);
        other.exec("ROLLBACK");
        other.close();
        const { reason } = await ada.state("abc", "error");
        expect(reason?.code).toBe("unreachable");
      },
      { PORTAL_RETRY_FOR: "2s" },
      IMPATIENT,
    );
  });
});
