import { rmSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { deriveKeys } from "../src/auth/keys.js";
import { hashPassword } from "../src/auth/password.js";
import { Browser } from "./helpers/browser.js";
import { PASSWORDS, startPortal, stored, temporaryFolder, withPortal } from "./helpers/portal.js";

const HOUR = 3_600_000;

describe("signing in", () => {
  it("gives a session, and the session says who it is", async () => {
    await withPortal(async ({ url, browser }) => {
      const ada = await browser("ada");
      const who = await ada.get("/api/session");
      expect(who.status).toBe(200);
      expect(who.body).toMatchObject({ name: "ada", csrf_token: ada.csrf });
      expect((await new Browser(url).get("/api/session")).body?.error?.code).toBe("not_signed_in");
    });
  });

  it("sets a cookie that scripts and other sites do not get", async () => {
    await withPortal(async ({ url }) => {
      const answer = await new Browser(url).post("/api/session", { name: "ada", password: PASSWORDS.ada });
      const [cookie = ""] = answer.headers.getSetCookie();
      expect(cookie).toMatch(/^portal_session=[^;]{60,}; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Strict$/);
    });
  });

  it("sets one for HTTPS alone unless told otherwise", async () => {
    await withPortal(
      async ({ url }) => {
        const answer = await new Browser(url).post("/api/session", { name: "ada", password: PASSWORDS.ada });
        const [cookie = ""] = answer.headers.getSetCookie();
        expect(cookie).toMatch(
          /^__Host-portal_session=[^;]+; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Strict$/,
        );
        expect(answer.headers.get("strict-transport-security")).toBe("max-age=31536000");
      },
      { PORTAL_SECURE_COOKIES: "true" },
    );
  });

  it.each([
    ["a wrong password", { name: "ada", password: PASSWORDS.grace }],
    ["no such account", { name: "sk-canary-nobody", password: PASSWORDS.ada }],
  ])("fails for %s in the same words", async (_what, body) => {
    await withPortal(async ({ url }) => {
      const answer = await new Browser(url).post("/api/session", body);
      expect(answer.status).toBe(401);
      expect(answer.headers.getSetCookie()).toEqual([]);
      expect(answer.text).toBe('{"error":{"code":"wrong_credentials","message":"name or password are wrong"}}');
    });
  });

  it("ends the session that the browser had before", async () => {
    await withPortal(async ({ url, browser }) => {
      const first = await browser("ada");
      const old = Object.assign(new Browser(url), { cookie: first.cookie });
      await first.signIn("grace", PASSWORDS.grace);
      expect((await old.get("/api/session")).status).toBe(401);
      expect((await first.get("/api/session")).body?.name).toBe("grace");
    });
  });

  it("from a page of another site is refused", async () => {
    await withPortal(async ({ url }) => {
      for (const site of ["cross-site", "same-site"]) {
        const body = { name: "ada", password: PASSWORDS.ada };
        const answer = await new Browser(url).send("POST", "/api/session", body, { "sec-fetch-site": site });
        expect(answer.body?.error?.code).toBe("cross_site");
      }
    });
  });
});

describe("guessing a password", () => {
  it("is slowed down, also for who has found it, who is let in after the pause", async () => {
    let now = Date.now();
    await withPortal(
      async ({ url, log }) => {
        const guesser = new Browser(url);
        const guess = (password: string) => guesser.post("/api/session", { name: "ada", password });
        const first = await Promise.all(Array.from({ length: 30 }, (_, n) => guess(`sk-canary-guess-${String(n)}`)));
        const statuses = first.map(({ status }) => status).sort();
        expect(statuses).toEqual([...Array<number>(6).fill(401), ...Array<number>(24).fill(429)]);

        const early = await guess(PASSWORDS.ada);
        expect(early.status).toBe(429);
        expect(early.body?.error?.code).toBe("too_many_attempts");
        expect(early.headers.get("retry-after")).toBe("1");
        now += 1000;
        expect((await guess("sk-canary-again")).status).toBe(401);
        expect((await guess(PASSWORDS.ada)).headers.get("retry-after")).toBe("2");
        now += 2000;
        expect((await guess(PASSWORDS.ada)).status).toBe(201);
        expect(log()).toContain("sign-in failed");
        expect(log()).not.toContain("sk-canary-");
      },
      {},
      { now: () => now },
    );
  });

  it("without a stop does not keep out who has signed in with this browser before", async () => {
    let now = Date.now();
    await withPortal(
      async ({ url, browser }) => {
        const ada = await browser("ada");
        const elsewhere = await browser("grace");
        expect((await ada.delete("/api/session")).status).toBe(204);
        ada.cookie = undefined;
        const signIn = (from: Browser, password: string) => from.post("/api/session", { name: "ada", password });
        const attack = async () => {
          const guesses = Array.from({ length: 10 }, () => signIn(new Browser(url), "sk-canary-guess"));
          await Promise.all(guesses);
        };
        for (let round = 0; round < 8; round += 1) {
          await attack();
          // Her right password comes too early from anywhere else, also from a browser that another account knows.
          expect((await signIn(new Browser(url), PASSWORDS.ada)).status).toBe(429);
          expect((await signIn(elsewhere, PASSWORDS.ada)).status).toBe(429);
          const device = ada.device;
          await ada.signIn("ada", PASSWORDS.ada);
          expect((await ada.get("/api/session")).body?.name).toBe("ada");
          expect(ada.device?.split(".")[0], "the same device as before").toBe(device?.split(".")[0]);
          now += 60_000;
        }
      },
      {},
      { now: () => now },
    );
  });

  it("with a known browser is slowed down, too", async () => {
    await withPortal(
      async ({ browser, url }) => {
        const ada = await browser("ada");
        const guesses = [];
        for (let count = 0; count < 7; count += 1) {
          guesses.push((await ada.post("/api/session", { name: "ada", password: "sk-canary-guess" })).status);
        }
        expect(guesses).toEqual([...Array<number>(6).fill(401), 429]);
        // It hinders nobody else.
        await new Browser(url).signIn("ada", PASSWORDS.ada);
      },
      {},
      { now: () => 1_000_000_000_000 },
    );
  });

  it("through a trusted proxy slows down the address that it names, and only that", async () => {
    await withPortal(
      async ({ url }) => {
        const from = (address: string, password: string) =>
          new Browser(url).send("POST", "/api/session", { name: "ada", password }, { "x-forwarded-for": address });
        for (let count = 0; count < 6; count += 1) {
          expect((await from("192.0.2.1", "sk-canary-wrong")).status).toBe(401);
        }
        expect((await from("192.0.2.1", PASSWORDS.ada)).status).toBe(429);
        expect((await from("192.0.2.2", PASSWORDS.ada)).status).toBe(201);
      },
      { PORTAL_TRUST_PROXY: "127.0.0.1" },
      { now: () => 1_000_000_000_000 },
    );
  });

  it("cannot be hidden behind an invented address when no proxy is trusted", async () => {
    await withPortal(
      async ({ url }) => {
        const answers = [];
        for (let count = 0; count < 7; count += 1) {
          const headers = { "x-forwarded-for": `192.0.2.${String(count)}` };
          const body = { name: `nobody-${String(count)}`, password: "sk-canary-wrong" };
          answers.push((await new Browser(url).send("POST", "/api/session", body, headers)).status);
        }
        expect(answers).toEqual([401, 401, 401, 401, 401, 401, 429]);
      },
      {},
      { now: () => 1_000_000_000_000 },
    );
  });
});

describe("the cookie of a known browser", () => {
  it("is not for scripts and other sites, and opens nothing", async () => {
    await withPortal(
      async ({ url }) => {
        const answer = await new Browser(url).post("/api/session", { name: "ada", password: PASSWORDS.ada });
        const [, cookie = ""] = answer.headers.getSetCookie();
        expect(cookie).toMatch(
          /^__Host-portal_device=[\w.-]+; Max-Age=15552000; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
        );
        const device = cookie.split(";")[0] ?? "";
        const value = device.slice(device.indexOf("=") + 1);
        for (const forged of [device, `__Host-portal_session=${value}`]) {
          const known = Object.assign(new Browser(url), { cookie: forged, csrf: answer.body?.csrf_token });
          expect((await known.get("/api/session")).status).toBe(401);
          expect((await known.post("/api/workshops", { id: "abc", seats: 1 })).status).toBe(401);
        }
      },
      { PORTAL_SECURE_COOKIES: "true" },
    );
  });
});

describe("a session", () => {
  it("that is forged is refused", async () => {
    await withPortal(async ({ url, browser }) => {
      const { cookie = "", csrf } = await browser("ada");
      const token = cookie.slice("portal_session=".length, cookie.indexOf("."));
      const other = "A".repeat(43);
      // Even who could sign cookies would need a token that the database knows.
      const { createHmac } = await import("node:crypto");
      const { cookie: key } = deriveKeys("sk-canary-secret-of-the-portal-in-tests");
      const signature = createHmac("sha256", key).update(other).digest("base64").replace(/=+$/, "");
      const forged = [
        "portal_session=",
        "portal_session=ada",
        `portal_session=${token}`,
        `portal_session=${token}.${"A".repeat(43)}`,
        cookie.replace(token, other),
        `portal_session=${other}.${encodeURIComponent(signature)}`,
        `${cookie}A`,
      ];
      for (const one of forged) {
        const forger = Object.assign(new Browser(url), { cookie: one, csrf });
        expect((await forger.get("/api/session")).status, one).toBe(401);
        expect((await forger.post("/api/workshops", { id: "abc", seats: 1 })).status, one).toBe(401);
      }
      expect((await Object.assign(new Browser(url), { cookie }).get("/api/session")).status).toBe(200);
    });
  });

  it("is over on the server after signing out", async () => {
    await withPortal(async ({ url, browser }) => {
      const ada = await browser("ada");
      const copy = Object.assign(new Browser(url), { cookie: ada.cookie, csrf: ada.csrf });
      const out = await ada.delete("/api/session");
      expect(out.status).toBe(204);
      expect(out.headers.getSetCookie()[0]).toMatch(/^portal_session=; .*Expires=Thu, 01 Jan 1970/);
      expect((await copy.get("/api/session")).status).toBe(401);
      expect((await copy.delete("/api/session")).status).toBe(401);
    });
  });

  it("ends by itself", async () => {
    let now = Date.now();
    await withPortal(
      async ({ browser }) => {
        const ada = await browser("ada");
        now += HOUR - 1;
        expect((await ada.get("/api/session")).status).toBe(200);
        now += 1;
        expect((await ada.get("/api/session")).status).toBe(401);
      },
      { PORTAL_SESSION_LIFETIME: "1h" },
      { now: () => now },
    );
  });

  it("survives a restart, but not another secret or another password, and is not in the database", async () => {
    const folder = temporaryFolder();
    try {
      let portal = await startPortal(folder);
      const ada = await portal.browser("ada");
      const grace = await portal.browser("grace");
      const token = /=([^.]+)\./.exec(ada.cookie ?? "")?.[1] ?? "";
      await portal.close();
      expect(token.length).toBeGreaterThan(40);
      expect(stored(folder)).not.toContain(token);
      expect(stored(folder)).not.toContain(ada.csrf);

      const after = async (more: Record<string, string>): Promise<number[]> => {
        portal = await startPortal(folder, more);
        const asks = [ada, grace].map(async ({ cookie }) =>
          Object.assign(new Browser(portal.url), { cookie }).get("/api/session"),
        );
        const statuses = (await Promise.all(asks)).map(({ status }) => status);
        await portal.close();
        return statuses;
      };
      expect(await after({})).toEqual([200, 200]);
      const hash = await hashPassword("sk-canary-another-password", { logN: 14, r: 8, p: 1 });
      expect(await after({ PORTAL_PASSWORD_HASH: hash })).toEqual([401, 200]);
      expect(await after({ PORTAL_SECRET: "x".repeat(32) })).toEqual([401, 401]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the CSRF token", () => {
  it("is needed by whatever changes something, and is that of the session", async () => {
    await withPortal(async ({ browser }) => {
      const ada = await browser("ada");
      const grace = await browser("grace");
      const right = ada.csrf;
      for (const csrf of [undefined, "", "wrong", grace.csrf, `${right ?? ""}x`]) {
        ada.csrf = csrf;
        for (const [method, path, body] of [
          ["POST", "/api/workshops", { id: "abc", seats: 1 }],
          ["POST", "/api/workshops/abc/start", undefined],
          ["POST", "/api/workshops/abc/stop", undefined],
          ["DELETE", "/api/workshops/abc", undefined],
          ["DELETE", "/api/session", undefined],
        ] as const) {
          const answer = await ada.send(method, path, body);
          expect([answer.status, answer.body?.error?.code], `${method} ${path}`).toEqual([403, "csrf_token_invalid"]);
        }
      }
      ada.csrf = right;
      expect((await ada.get("/api/workshops")).body?.workshops).toEqual([]);
      expect((await ada.post("/api/workshops", { id: "abc", seats: 1 })).status).toBe(201);
    });
  });
});
