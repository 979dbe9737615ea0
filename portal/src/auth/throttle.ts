/**
 * Slows the guessing of passwords down.
 *
 * Failed tries are counted per source address and per account. Past a number of free ones each further failure doubles
 * the pause before the next try, up to a bound; a try that comes too early is refused unseen and counts for nothing, so
 * nobody is locked out for good. The bound of an account is low, for it also hits its owner when others guess.
 *
 *   failures          1 … free   free+1   +2   +3   …
 *   pause             none       1 s      2 s  4 s  …  longest
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
const FIRST_PAUSE = 1000;
const FORGOTTEN_AFTER = 15 * 60_000;
const MOST_COUNTERS = 20_000;

interface Counter {
  readonly rule: Rule;
  failures: number;
  openAt: number;
  lastAt: number;
}

/** A try that may be made. It counts as failed until it is said to be a success. */
export interface Attempt {
  /** The password was right: the try is not counted. */
  succeeded(): void;
}

/** Counts the tries of a process. */
export class SignInThrottle {
  readonly #counters = new Map<string, Counter>();
  readonly #now: () => number;

  /** `now` is the clock, in milliseconds. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Begins a try, or says in how many milliseconds the next one may be made. */
  begin(address: string, account: string): Attempt | number {
    const now = this.#now();
    const counters = [
      this.#counter(`address ${network(address)}`, ADDRESS, now),
      // Hashed, so that what somebody types into the field for the name is not kept.
      this.#counter(`account ${createHash("sha256").update(account).digest("base64")}`, ACCOUNT, now),
    ];
    const pause = Math.max(...counters.map((counter) => counter.openAt - now));
    if (pause > 0) {
      return pause;
    }
    for (const counter of counters) {
      counter.failures += 1;
      counter.lastAt = now;
      counter.openAt = now + pauseAfter(counter);
    }
    return {
      succeeded: () => {
        for (const counter of counters) {
          counter.failures = Math.max(0, counter.failures - 1);
          counter.openAt = Math.min(counter.openAt, now + pauseAfter(counter));
        }
      },
    };
  }

  #counter(key: string, rule: Rule, now: number): Counter {
    const found = this.#counters.get(key);
    const fresh = found === undefined || now - found.lastAt > FORGOTTEN_AFTER;
    const counter = fresh ? { rule, failures: 0, openAt: 0, lastAt: now } : found;
    // Put in again at the end: the first of the map is the one that was not used for the longest time.
    this.#counters.delete(key);
    this.#counters.set(key, counter);
    const oldest = this.#counters.keys().next();
    if (this.#counters.size > MOST_COUNTERS && oldest.done !== true) {
      this.#counters.delete(oldest.value);
    }
    return counter;
  }
}

function pauseAfter({ failures, rule }: Counter): number {
  return failures <= rule.free ? 0 : Math.min(FIRST_PAUSE * 2 ** (failures - rule.free - 1), rule.longest);
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
