import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";

import type { Accounts } from "../config.js";
import type { SessionStore } from "../store/sessions.js";
import { verifyPassword, type Cost, type PasswordHash } from "./password.js";

/** Somebody who is signed in. */
export interface Session {
  /** The account. */
  readonly name: string;
  readonly expiresAt: Date;
  /** What every request that changes something must bring. */
  readonly csrfToken: string;
}

/** A session that has just begun. */
export interface OpenedSession extends Session {
  /** What the cookie holds. */
  readonly token: string;
}

// Checked in place of hashes that are not there. No password has this key.
const NOBODY = { salt: randomBytes(16), key: randomBytes(32), text: "" } as const;

/** Signs in and out. A session is known by its row in the database: without it, its cookie is worth nothing. */
export class Sessions {
  readonly #store: SessionStore;
  readonly #accounts: Accounts;
  readonly #lifetime: number;
  readonly #csrfKey: Buffer;
  readonly #now: () => number;
  readonly #verify: typeof verifyPassword;
  readonly #costs: readonly Cost[];

  /** `lifetime` and the clock `now` are in milliseconds. `verify` checks a password. */
  constructor(
    store: SessionStore,
    accounts: Accounts,
    lifetime: number,
    csrfKey: Buffer,
    now: () => number = Date.now,
    verify: typeof verifyPassword = verifyPassword,
  ) {
    this.#store = store;
    this.#accounts = accounts;
    this.#lifetime = lifetime;
    this.#csrfKey = csrfKey;
    this.#now = now;
    this.#verify = verify;
    const costs = [...accounts.values()].map(({ logN, r, p }) => ({ logN, r, p }));
    this.#costs = costs.filter((cost, index) => costs.findIndex((other) => isSameCost(cost, other)) === index);
  }

  /** Begins a session; nothing when name or password are wrong. */
  async open(name: string, password: string): Promise<OpenedSession | undefined> {
    const hash = this.#accounts.get(name);
    if (!(await this.#isPassword(password, hash)) || hash === undefined) {
      return undefined;
    }
    const token = randomBytes(32).toString("base64url");
    const now = this.#now();
    const expiresAt = now + this.#lifetime;
    await this.#store.insert({ id: digest(token), name, credential: digest(hash.text), expiresAt }, now);
    return { token, name, expiresAt: new Date(expiresAt), csrfToken: this.#csrfToken(token) };
  }

  /** The session of a cookie; nothing when it is over, unknown, or its account or password has changed since. */
  async find(token: string): Promise<Session | undefined> {
    const row = await this.#store.find(digest(token));
    if (row === undefined || row.expiresAt <= this.#now()) {
      return undefined;
    }
    const hash = this.#accounts.get(row.name);
    if (hash === undefined || digest(hash.text) !== row.credential) {
      return undefined;
    }
    return { name: row.name, expiresAt: new Date(row.expiresAt), csrfToken: this.#csrfToken(token) };
  }

  /** Ends a session. */
  async end(token: string): Promise<void> {
    await this.#store.remove(digest(token));
  }

  /**
   * Whether this is the password. It is tried with every cost that the accounts' hashes have, mostly a single one, so
   * that the time tells neither which names there are nor what theirs cost.
   */
  async #isPassword(password: string, hash: PasswordHash | undefined): Promise<boolean> {
    let isRight = false;
    for (const cost of this.#costs) {
      const isOwn = hash !== undefined && isSameCost(cost, hash);
      const matches = await this.#verify(password, isOwn ? hash : { ...NOBODY, ...cost });
      isRight ||= isOwn && matches;
    }
    return isRight;
  }

  #csrfToken(token: string): string {
    return createHmac("sha256", this.#csrfKey).update(token).digest("base64url");
  }
}

/** Whether a request brought the session's CSRF token. */
export function isCsrfToken(session: Session, given: unknown): boolean {
  // Compared as hashes, which have the same length whatever was given.
  return typeof given === "string" && timingSafeEqual(sha256(given), sha256(session.csrfToken));
}

function isSameCost(one: Cost, other: Cost): boolean {
  return one.logN === other.logN && one.r === other.r && one.p === other.p;
}

/** What is kept of a token: who reads the database cannot sign in with it. */
function digest(text: string): string {
  return sha256(text).toString("base64url");
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
