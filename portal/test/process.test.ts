import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { parsePasswordHash, verifyPassword } from "../src/auth/password.js";
import { Browser } from "./helpers/browser.js";
import { PASSWORDS, environment, temporaryFolder } from "./helpers/portal.js";
import { endAll, run, startPortalProcess } from "./helpers/process.js";
import { until } from "./helpers/until.js";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(async () => {
  await endAll();
  rmSync(folder, { recursive: true });
});

describe("the program", () => {
  it("does not start with a wrong configuration, and tells all of it", async () => {
    const program = run("main", { PORTAL_LISTEN: "x", PORTAL_SECRET: "sk-canary-short", PORTAL_MAX_SEATS: "none" });
    expect(await program.ended()).toBe(2);
    for (const what of ["PORTAL_LISTEN", "PORTAL_SECRET", "PORTAL_MAX_SEATS", "nobody could sign in"]) {
      expect(program.output()).toContain(what);
    }
    expect(program.output()).not.toContain("sk-canary-");
    expect(program.output()).not.toMatch(/^\s+at /m);
  });

  it("does not start where another one listens", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const port = String((taken.address() as AddressInfo).port);
    const program = run("main", await environment(folder, { PORTAL_LISTEN: `127.0.0.1:${port}` }));
    expect(await program.ended()).toBe(1);
    expect(program.output()).toContain(`cannot listen on 127.0.0.1:${port}`);
    taken.close();
  });

  it("does not start on a folder that another one uses", async () => {
    const first = await startPortalProcess(folder);
    const second = run("main", await environment(folder));
    expect(await second.ended()).toBe(1);
    expect(second.output()).toContain("another portal uses");
    expect(await first.stop()).toBe(0);
  });

  it("keeps what it writes from everybody else", async () => {
    const data = join(folder, "data");
    mkdirSync(data, { mode: 0o755 });
    const portal = await startPortalProcess(folder);
    for (const name of readdirSync(data)) {
      expect(statSync(join(data, name)).mode & 0o077, name).toBe(0);
    }
    expect(await portal.stop()).toBe(0);
  });

  it("lets go of its folder also when it is killed", async () => {
    const first = await startPortalProcess(folder);
    expect(await first.stop("SIGKILL")).toBe("SIGKILL");
    const second = await startPortalProcess(folder);
    expect(await second.stop("SIGINT")).toBe(0);
  });

  it("answers what is under way before it ends, and logs JSON without secrets", async () => {
    const portal = await startPortalProcess(folder);
    const signingIn = new Browser(portal.url).signIn("ada", PASSWORDS.ada);
    await until("the request to arrive", async () => (await fetch(`${portal.url}/api/health`)).ok);
    const ended = portal.stop();
    await signingIn.catch((error: unknown) => {
      // It had not been taken yet: then it was refused as a whole.
      expect(String(error)).toContain("fetch failed");
    });
    expect(await ended).toBe(0);
    const lines = portal.output().trim().split("\n");
    for (const line of lines) {
      expect(JSON.parse(line)).toMatchObject({
        level: expect.any(String) as string,
        time: expect.any(String) as string,
      });
    }
    expect(lines.at(-1)).toContain('"msg":"ended"');
    expect(portal.output()).not.toContain("sk-canary-");
  });

  it("slows guessing down in the real time too, and then lets the right one in", async () => {
    const portal = await startPortalProcess(folder);
    const guesser = new Browser(portal.url);
    const guess = (password: string) => guesser.post("/api/session", { name: "ada", password });
    for (let count = 0; count < 6; count += 1) {
      expect((await guess(`sk-canary-guess-${String(count)}`)).status).toBe(401);
    }
    const refused = [];
    await until("the right password to be let in", async () => {
      const answer = await guess(PASSWORDS.ada);
      if (answer.status === 429) {
        refused.push(answer.headers.get("retry-after"));
      }
      return answer.status === 201;
    });
    expect(await portal.stop()).toBe(0);
    expect(portal.output()).not.toContain("sk-canary-");
  });
});

describe("hash-password", () => {
  it("makes a hash of what it reads, without the end of the line", async () => {
    const program = run("cli/hash-password", {}, "sk-canary-password\n");
    expect(await program.ended()).toBe(0);
    const line = program.output().trim();
    expect(await verifyPassword("sk-canary-password", parsePasswordHash(line))).toBe(true);
  });

  it.each([
    ["too short", "1234567"],
    ["empty", ""],
    ["too long", "x".repeat(1025)],
  ])("refuses one that is %s", async (_what, text) => {
    const program = run("cli/hash-password", {}, text);
    expect(await program.ended()).toBe(2);
    expect(program.output()).toContain("at least 8 characters");
  });
});
