/** A call with its time limit and its retries, whatever it exchanges. */

import { setTimeout as sleep } from "node:timers/promises";

import { milliseconds } from "./arguments.js";
import { OrchestratorError } from "./errors.js";
import type { CallOptions, RetryNotice } from "./options.js";
import { pauseBefore } from "./retry.js";
import { aborted, type Limits, timedOut } from "./transport.js";

/** How calls are repeated. */
export interface RetryPolicy {
  readonly retries: number;
  readonly onRetry: ((notice: RetryNotice) => void) | undefined;
}

/**
 * Makes a call until it succeeds, cannot succeed any more, or its time is over. The time is that of all attempts and
 * pauses together.
 */
export async function repeated<T>(
  what: string,
  options: CallOptions,
  defaultMs: number,
  policy: RetryPolicy,
  attempt: (limits: Limits) => Promise<T>,
): Promise<T> {
  const timeoutMs = milliseconds("timeoutMs", options.timeoutMs ?? defaultMs);
  const { signal } = options;
  const until = performance.now() + timeoutMs;
  const deadline = AbortSignal.timeout(timeoutMs);
  for (let number = 1; ; number += 1) {
    if (signal?.aborted === true) {
      throw aborted(what, signal);
    }
    try {
      return await attempt({ signal, deadline, timeoutMs });
    } catch (error) {
      if (!(error instanceof OrchestratorError)) {
        throw error;
      }
      const delayMs = pauseBefore(error, number, policy.retries, until - performance.now());
      if (delayMs === undefined) {
        throw error;
      }
      policy.onRetry?.({ call: what, attempt: number, delayMs: Math.round(delayMs), code: error.code });
      await pause(what, delayMs, { signal, deadline, timeoutMs });
    }
  }
}

async function pause(what: string, delayMs: number, { signal, deadline, timeoutMs }: Limits): Promise<void> {
  const either = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
  try {
    await sleep(delayMs, undefined, { signal: either });
  } catch {
    throw signal?.aborted === true ? aborted(what, signal) : timedOut(what, timeoutMs);
  }
}
