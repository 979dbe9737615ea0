/**
 * Browsers that have signed in before, known by a cookie:
 *
 *   <16 random bytes>.<seconds since 1970>.<HMAC of both and of the account, with its password's hash>
 *
 * all in base64url but the time. It opens nothing. It only lets the browser's tries be counted apart from those of
 * everybody else (see throttle.ts), for the one account that it is of, while that has the same password. Nothing of it is
 * kept on the server.
 */

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

import type { Accounts } from "../config.js";

/** How long a browser is known after it has signed in last, in milliseconds: half a year. */
export const KNOWN_FOR = 180 * 24 * 60 * 60_000;

const FORM = /^([\w-]{22})\.(\d{1,12})\.([\w-]{43})$/;

/** Makes and reads the cookies. */
export class KnownDevices {
  readonly #accounts: Accounts;
  readonly #key: Buffer;
  readonly #now: () => number;

  /** `now` is the clock, in milliseconds. */
  constructor(accounts: Accounts, key: Buffer, now: () => number = Date.now) {
    this.#accounts = accounts;
    this.#key = key;
    this.#now = now;
  }

  /** The cookie of a browser that has signed in: a new device, or the one that it has been so far. */
  cookie(account: string, device = randomBytes(16).toString("base64url")): string {
    const since = String(Math.floor(this.#now() / 1000));
    return `${device}.${since}.${this.#sign(account, device, since).toString("base64url")}`;
  }

  /** The device that a cookie names; nothing when it is not of this account, forged, or too old. */
  find(account: string, cookie: string | undefined): string | undefined {
    const [, device, since, signature] = FORM.exec(cookie ?? "") ?? [];
    if (device === undefined || since === undefined || signature === undefined) {
      return undefined;
    }
    const isGenuine = timingSafeEqual(this.#sign(account, device, since), Buffer.from(signature, "base64url"));
    const isFresh = this.#now() - Number(since) * 1000 < KNOWN_FOR;
    return isGenuine && isFresh && this.#accounts.has(account) ? device : undefined;
  }

  #sign(account: string, device: string, since: string): Buffer {
    const hash = this.#accounts.get(account)?.text ?? "";
    // As JSON, so that no part can be taken for another.
    return createHmac("sha256", this.#key)
      .update(JSON.stringify([device, since, account, hash]))
      .digest();
  }
}
