import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { ConfigError, readConfig } from "../src/config.js";
import { reference, VARIABLES } from "../src/config/settings.js";

const HASH = `scrypt:14:8:1:${"A".repeat(22)}:${"A".repeat(43)}`;
const SECRET = "sk-canary-secret-with-thirty-two-characters";
const LEAST = { PORTAL_SECRET: SECRET, PORTAL_PASSWORD_HASH: HASH };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "clarateach-portal-config-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function problems(environment: Record<string, string>): readonly string[] {
  try {
    readConfig(environment);
  } catch (error) {
    if (error instanceof ConfigError) {
      expect(error.message).not.toContain("sk-canary-");
      return error.problems;
    }
    throw error;
  }
  return [];
}

describe("the configuration", () => {
  it("needs a secret and somebody who may sign in, and nothing else", () => {
    const config = readConfig(LEAST);
    expect(config).toMatchObject({
      listen: { host: "127.0.0.1", port: 3000 },
      dataDir: "data",
      secureCookies: true,
      trustedProxies: [],
      sessionLifetime: 12 * 3_600_000,
      retryFor: 600_000,
      maxSeats: 100,
      orchestratorUrl: "http://orchestrator:8080",
      orchestratorToken: undefined,
      warnings: [],
    });
    expect([...config.accounts.keys()]).toEqual(["instructor"]);
  });

  it("tells everything that is wrong at once, and no secret", () => {
    const found = problems({
      PORTAL_LISTEN: "3000",
      PORTAL_SECRET: "sk-canary-short",
      PORTAL_USER: "a b",
      PORTAL_PASSWORD_HASH: "sk-canary-plain-password",
      PORTAL_SESSION_LIFETIME: "forever",
      PORTAL_SECURE_COOKIES: "yes",
      PORTAL_TRUST_PROXY: "everybody",
      PORTAL_REQUESTS_PER_MINUTE: "0",
      PORTAL_MAX_SEATS: "1.5",
      PORTAL_RETRY_FOR: "25h",
      PORTAL_LOG_LEVEL: "loud",
      ORCHESTRATOR_URL: "http://sk-canary-user:sk-canary-pw@host",
      ORCHESTRATOR_TOKEN: "sk-canary token",
    });
    expect(found.map((problem) => problem.split(" ")[0])).toEqual([
      "PORTAL_LISTEN",
      "PORTAL_SECRET",
      "PORTAL_USER",
      "PORTAL_PASSWORD_HASH",
      "PORTAL_SESSION_LIFETIME",
      "PORTAL_SECURE_COOKIES",
      "PORTAL_TRUST_PROXY",
      "PORTAL_REQUESTS_PER_MINUTE",
      "PORTAL_MAX_SEATS",
      "PORTAL_RETRY_FOR",
      "PORTAL_LOG_LEVEL",
      "ORCHESTRATOR_URL",
      "ORCHESTRATOR_TOKEN",
    ]);
  });

  it("says what is missing", () => {
    expect(problems({})).toEqual([
      expect.stringContaining("nobody could sign in"),
      expect.stringContaining("PORTAL_SECRET or PORTAL_SECRET_FILE must be set"),
    ]);
  });

  it("takes secrets from files, without the end of the line", () => {
    const config = readConfig({
      PORTAL_SECRET_FILE: file("secret", `${SECRET}\n`),
      PORTAL_PASSWORD_HASH_FILE: file("hash", `${HASH}\n`),
      ORCHESTRATOR_TOKEN_FILE: file("token", "sk-canary-token\n"),
    });
    expect(config.secret).toBe(SECRET);
    expect(config.accounts.size).toBe(1);
    expect(config.orchestratorToken).toBeUndefined();
    expect(config.orchestratorTokenFile).toBe(join(folder, "token"));
  });

  it("refuses a secret that is given twice", () => {
    expect(problems({ ...LEAST, PORTAL_SECRET_FILE: file("twice", SECRET) })).toEqual([
      "PORTAL_SECRET and PORTAL_SECRET_FILE are both set: keep one of them",
    ]);
  });

  it("says which file cannot be read", () => {
    const path = join(folder, "missing");
    expect(problems({ PORTAL_PASSWORD_HASH: HASH, PORTAL_SECRET_FILE: path })).toEqual([
      `PORTAL_SECRET_FILE names ${path}, which cannot be read (ENOENT): correct the path or the permissions`,
    ]);
  });

  it("takes an empty variable for one that is not set", () => {
    expect(readConfig({ ...LEAST, PORTAL_LISTEN: "", ORCHESTRATOR_TOKEN: "" }).listen.port).toBe(3000);
  });

  it.each([
    ["127.0.0.1:0", { host: "127.0.0.1", port: 0 }],
    ["[::1]:3000", { host: "::1", port: 3000 }],
    ["localhost:65535", { host: "localhost", port: 65_535 }],
  ])("listens on %s", (text, listen) => {
    expect(readConfig({ ...LEAST, PORTAL_LISTEN: text }).listen).toEqual(listen);
  });

  it.each(["10.0.0.0/33", "::1/129", "10.0.0.1/", "10.0.0/8", "a", "127.0.0.1,,::1", "1.2.3.4/8/8"])(
    "does not trust %s",
    (text) => {
      expect(problems({ ...LEAST, PORTAL_TRUST_PROXY: text })).toHaveLength(1);
    },
  );

  it("trusts addresses and networks", () => {
    const { trustedProxies } = readConfig({ ...LEAST, PORTAL_TRUST_PROXY: "127.0.0.1, ::1,10.0.0.0/8,fd00::/8" });
    expect(trustedProxies).toEqual(["127.0.0.1", "::1", "10.0.0.0/8", "fd00::/8"]);
  });

  it.each(["127.0.0.1:65536", "::1:3000", ":3000", "127.0.0.1", "http://127.0.0.1:3000"])(
    "does not listen on %s",
    (text) => {
      expect(problems({ ...LEAST, PORTAL_LISTEN: text })).toHaveLength(1);
    },
  );
});

describe("the file of users", () => {
  it("adds accounts", () => {
    const path = file("users", `# who teaches\nada:${HASH}\n\n grace:${HASH} \r\n`);
    expect([...readConfig({ ...LEAST, PORTAL_USERS_FILE: path }).accounts.keys()]).toEqual([
      "instructor",
      "ada",
      "grace",
    ]);
  });

  it("is enough by itself", () => {
    const path = file("only", `ada:${HASH}`);
    expect([...readConfig({ PORTAL_SECRET: SECRET, PORTAL_USERS_FILE: path }).accounts.keys()]).toEqual(["ada"]);
  });

  it("tells every line that is wrong, by number and without what is in it", () => {
    const path = file("wrong", `ada\ngrace:sk-canary-plain\n:${HASH}\njoan:${HASH}\njoan:${HASH}\ninstructor:${HASH}`);
    const found = problems({ ...LEAST, PORTAL_USERS_FILE: path });
    expect(found.map((problem) => problem.split(":")[0])).toEqual(
      [1, 2, 3, 5, 6].map((line) => `PORTAL_USERS_FILE line ${String(line)}`),
    );
  });
});

describe("warnings", () => {
  it("tell variables that are no settings, and cookies that can be read on the way", () => {
    const config = readConfig({
      ...LEAST,
      PORTAL_LISTN: "x",
      PORTAL_LISTEN: "0.0.0.0:3000",
      PORTAL_SECURE_COOKIES: "false",
    });
    expect(config.warnings).toEqual([
      expect.stringContaining("PORTAL_LISTN is not a setting"),
      expect.stringContaining("PORTAL_SECURE_COOKIES is false"),
    ]);
  });
});

describe("the table of settings", () => {
  it("is the one in the README", () => {
    const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
    expect(readme).toContain(`<!-- settings -->\n\n${reference()}\n\n<!-- /settings -->`);
  });

  it("has exactly the variables that are read", () => {
    const read = new Set<string>();
    const environment = new Proxy<Record<string, string>>(LEAST, {
      get: (target, name) => {
        read.add(String(name));
        return target[String(name)];
      },
    });
    readConfig(environment);
    expect([...read].sort()).toEqual([...VARIABLES].sort());
  });
});
