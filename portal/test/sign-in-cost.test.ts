import { describe, expect, it } from "vitest";

import { hashPassword, parsePasswordHash, verifyPassword, type Cost } from "../src/auth/password.js";
import { Sessions } from "../src/auth/sessions.js";
import { Database } from "../src/store/database.js";
import { SessionStore } from "../src/store/sessions.js";
import { rmSync } from "node:fs";
import { temporaryFolder } from "./helpers/portal.js";

const CHEAP: Cost = { logN: 14, r: 8, p: 1 };
const DEAR: Cost = { logN: 14, r: 8, p: 2 };

describe("what a sign-in costs", () => {
  it("is the same for every account and for none, also when their hashes differ in cost", async () => {
    const parsed = async (password: string, cost: Cost) => parsePasswordHash(await hashPassword(password, cost));
    const accounts = new Map([
      ["ada", await parsed("sk-canary-ada", CHEAP)],
      ["grace", await parsed("sk-canary-grace", DEAR)],
      ["joan", await parsed("sk-canary-joan", CHEAP)],
    ]);
    let costs: Cost[] = [];
    const folder = temporaryFolder();
    const database = await Database.open(folder);
    try {
      const store = new SessionStore(database);
      const sessions = new Sessions(store, accounts, 60_000, Buffer.alloc(32), Date.now, (password, hash) => {
        costs.push({ logN: hash.logN, r: hash.r, p: hash.p });
        return verifyPassword(password, hash);
      });
      for (const [name, password, right] of [
        ["ada", "sk-canary-ada", true],
        ["ada", "sk-canary-grace", false],
        ["grace", "sk-canary-grace", true],
        ["grace", "sk-canary-ada", false],
        ["joan", "sk-canary-joan", true],
        ["nobody", "sk-canary-ada", false],
      ] as const) {
        costs = [];
        expect((await sessions.open(name, password)) !== undefined, `${name} with ${password}`).toBe(right);
        expect(costs, name).toEqual([CHEAP, DEAR]);
      }
    } finally {
      database.close();
      rmSync(folder, { recursive: true });
    }
  });
});
