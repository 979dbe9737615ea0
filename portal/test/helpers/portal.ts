import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";

import { hashPassword } from "../../src/auth/password.js";
import { readConfig } from "../../src/config.js";
import { makePortal, type Portal, type PortalOptions } from "../../src/portal.js";
import { Browser } from "./browser.js";

/** The accounts of the tests. All secrets of tests have `sk-canary-` in them, which is looked for afterwards. */
export const PASSWORDS = {
  ada: "sk-canary-password-of-ada",
  grace: "sk-canary-password-of-grace",
  joan: "sk-canary-password-of-joan",
} as const;

export const SECRET = "sk-canary-secret-of-the-portal-in-tests";

/** Nothing listens there. */
export const NOWHERE = "http://127.0.0.1:9";

// As cheap as a hash may be.
const hashes = Promise.all(
  Object.entries(PASSWORDS).map(
    async ([name, password]) => `${name}:${await hashPassword(password, { logN: 14, r: 8, p: 1 })}`,
  ),
);

/** A folder for the test, which removes it afterwards. */
export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), "clarateach-portal-"));
}

/** The environment of a portal that listens on a free port, with the accounts of the tests. */
export async function environment(folder: string, more: Record<string, string> = {}): Promise<Record<string, string>> {
  const [first = "", ...rest] = await hashes;
  const users = join(folder, "users");
  writeFileSync(users, rest.join("\n"));
  return {
    PORTAL_LISTEN: "127.0.0.1:0",
    PORTAL_DATA_DIR: join(folder, "data"),
    PORTAL_SECRET: SECRET,
    PORTAL_USER: "ada",
    PORTAL_PASSWORD_HASH: first.slice("ada:".length),
    PORTAL_USERS_FILE: users,
    PORTAL_SECURE_COOKIES: "false",
    PORTAL_REQUESTS_PER_MINUTE: "100000",
    PORTAL_LOG_LEVEL: "trace",
    ORCHESTRATOR_URL: NOWHERE,
    ...more,
  };
}

/** A portal in this process. */
export interface TestPortal {
  readonly portal: Portal;
  readonly url: string;
  readonly folder: string;
  readonly log: () => string;
  /** A browser, signed in as one of the accounts. */
  readonly browser: (name?: keyof typeof PASSWORDS) => Promise<Browser>;
  readonly close: () => Promise<void>;
}

/** Starts a portal in this process, on a folder. */
export async function startPortal(
  folder: string,
  more: Record<string, string> = {},
  options: PortalOptions = {},
): Promise<TestPortal> {
  let log = "";
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      log += chunk.toString("utf8");
      done();
    },
  });
  const portal = await makePortal(readConfig(await environment(folder, more)), {
    pauses: { first: 20, longest: 200 },
    ...options,
    log: stream,
  });
  const url = await portal.listen();
  return {
    portal,
    url,
    folder,
    log: () => log,
    browser: (name = "ada") => new Browser(url).signIn(name, PASSWORDS[name]),
    close: () => portal.close(),
  };
}

/** Everything that a portal has written into its folder. */
export function stored(folder: string): string {
  const data = join(folder, "data");
  return readdirSync(data)
    .map((name) => readFileSync(join(data, name), "latin1"))
    .join("\n");
}

/** Runs a test with a portal, and ends it whatever happens. */
export async function withPortal(
  use: (portal: TestPortal) => Promise<void>,
  more: Record<string, string> = {},
  options: PortalOptions = {},
): Promise<void> {
  const folder = temporaryFolder();
  try {
    const portal = await startPortal(folder, more, options);
    try {
      await use(portal);
    } finally {
      await portal.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
