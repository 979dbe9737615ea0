/**
 * When a failed call is made again.
 *
 * Every call of this API can be repeated: a create answers with the seat that is there, a class finishes what is
 * missing, and destroying what is gone is a success. So what decides is only whether another try may help:
 *
 *   no answer, or half of one            again, after a growing pause
 *   429 or 503 with Retry-After          again, after exactly that time
 *   429 or 503 without, 502 or 504 of a  again, after a growing pause
 *     proxy (not the service's own words)
 *   anything else                        no
 *
 * and whether the pause still fits into the call's time. If not, the error is told at once, with `retryAfterMs`.
 */

import type { OrchestratorError } from "./errors.js";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;

/** The pause before the next try, in milliseconds; nothing when there is none. */
export function pauseBefore(
  error: OrchestratorError,
  attempt: number,
  retries: number,
  leftMs: number,
  random: () => number = Math.random,
): number | undefined {
  if (!error.isTransient || attempt > retries) {
    return undefined;
  }
  const pause = error.retryAfterMs ?? backoff(attempt, random);
  return pause < leftMs ? pause : undefined;
}

/** Doubles with every attempt, and differs by up to half, so that many callers do not come back as one. */
function backoff(attempt: number, random: () => number): number {
  const whole = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
  return whole * (0.5 + random() / 2);
}

/** `Retry-After` in milliseconds: seconds or a date (RFC 9110, 10.2.3). What is neither counts as absent. */
export function retryAfter(header: unknown, now: number = Date.now()): number | undefined {
  if (typeof header !== "string") {
    return undefined;
  }
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) {
    return Number(text) * 1000;
  }
  // A date has letters; Date.parse alone would also take "-5".
  const at = /^[A-Za-z]{3}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
