/**
 * Slows the guessing of passwords down.
 *
 * Failed tries are counted per source address and per account. Past a number of free ones each further failure doubles
 * the pause before the next try, up to a bound; a try that comes too early is refused unseen and counts for nothing. The
 * bound of an account is low, for it also hits its owner when others guess.
 *
 *   failures          1 … free   free+1   +2   +3   …
 *   pause             none       1 s      2 s  4 s  …  longest
 *
 * Who guesses without a stop takes the one try after each pause, and so can keep the owner of the account out for as long
 * as that goes on. A browser that has signed in to the account before is therefore counted by itself alone, and neither
 * waits for the guesses of others nor adds to them.
 *
 * The counts live in memory, and are forgotten a quarter of an hour after the last failure.
 */

import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";

interface Rule {
  readonly free: number;
  readonly longest: number;
}

const ADDRESS: Rule = { free: 5, longest: 60_000 };
const ACCOUNT: Rule = { free: 20, longest: 10_000 };
const DEVICE: Rule = ADDRESS;
const FIRST_PAUSE = 1000;
const FORGOTTEN_AFTER = 15 * 60_000;
const MOST_COUNTERS = 20_000;

interface Counter {
  failures: number;
  openAt: number;
  lastAt: number;
}

/** A try that may be made. It counts as failed until it is said to be a success. */
export interface Attempt {
  /** The password was right, or was not looked at: the try is not counted. */
  succeeded(): void;
}

/** Counts the tries of a process. */
export class SignInThrottle {
  readonly #addresses = new Counters(ADDRESS);
  readonly #accounts = new Counters(ACCOUNT);
  readonly #devices = new Counters(DEVICE);
  readonly #now: () => number;

  /** `now` is the clock, in milliseconds. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /**
   * Begins a try, or says in how many milliseconds the next one may be made. `device` is a browser that is known to
   * have signed in to this account before.
   */
  begin(address: string, account: string, device?: string): Attempt | number {
    const now = this.#now();
    const keys: readonly (readonly [Counters, string])[] =
      device === undefined
        ? [
            [this.#addresses, network(address)],
            // Hashed, so that what somebody types into the field for the name is not kept.
            [this.#accounts, createHash("sha256").update(account).digest("base64")],
          ]
        : [[this.#devices, device]];
    const pause = Math.max(...keys.map(([counters, key]) => counters.pause(key, now)));
    if (pause > 0) {
      return pause;
    }
    for (const [counters, key] of keys) {
      counters.count(key, now);
    }
    return {
      succeeded: () => {
        for (const [counters, key] of keys) {
          counters.takeBack(key, now);
        }
      },
    };
  }
}

/** Counters of one kind, in a bounded number: those go first that were asked for the longest time ago. */
class Counters {
  readonly #rule: Rule;
  // In the order in which they were asked for last.
  readonly #byKey = new Map<string, Counter>();

  constructor(rule: Rule) {
    this.#rule = rule;
  }

  /** How long the next try must wait. Makes no counter: who is refused cannot push others out. */
  pause(key: string, now: number): number {
    const counter = this.#byKey.get(key);
    if (counter === undefined) {
      return 0;
    }
    this.#byKey.delete(key);
    if (now - counter.lastAt > FORGOTTEN_AFTER) {
      return 0;
    }
    this.#byKey.set(key, counter);
    return counter.openAt - now;
  }

  /** Counts a failure. */
  count(key: string, now: number): void {
    const failures = (this.#byKey.get(key)?.failures ?? 0) + 1;
    this.#byKey.set(key, { failures, openAt: now + this.#pauseAfter(failures), lastAt: now });
    const oldest = this.#byKey.keys().next();
    if (this.#byKey.size > MOST_COUNTERS && oldest.done !== true) {
      this.#byKey.delete(oldest.value);
    }
  }

  /** Takes the failure back that was counted at `then`. */
  takeBack(key: string, then: number): void {
    const counter = this.#byKey.get(key);
    if (counter === undefined) {
      return;
    }
    counter.failures -= 1;
    if (counter.failures === 0) {
      this.#byKey.delete(key);
    } else {
      counter.openAt = Math.min(counter.openAt, then + this.#pauseAfter(counter.failures));
    }
  }

  #pauseAfter(failures: number): number {
    const { free, longest } = this.#rule;
    return failures <= free ? 0 : Math.min(FIRST_PAUSE * 2 ** (failures - free - 1), longest);
  }
}

/** The address, or the /64 of an IPv6 address: one customer has as many of those as he likes. */
function network(address: string): string {
  if (!isIPv6(address) || address.startsWith("::ffff:")) {
    return address;
  }
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  return [...before, ...Array<string>(zeros).fill("0"), ...after].slice(0, 4).join(":");
}
