import { CLIENT_CODES, OrchestratorError, type ClassResult } from "@clarateach/orchestrator-client";

import type { Reason } from "../store/workshops.js";

/** What became of a try. */
export type Outcome =
  | { readonly kind: "done" }
  /**
   * Another try may help, after `after` milliseconds when the service said so. `ready` is how many seats were as wished
   * at the end of this one, as far as that was told.
   */
  | { readonly kind: "again"; readonly reason: Reason; readonly after?: number; readonly ready?: number }
  /** Somebody must do something first. */
  | { readonly kind: "failed"; readonly reason: Reason };

/** The codes of single seats that pass by themselves. */
const PASSING = new Set([
  "engine_unavailable",
  "queue_full",
  "shutting_down",
  "timed_out",
  // A destroy of somebody else came between, and the seat is still wanted here.
  "seat_superseded",
  "seat_gone",
]);

const NAMED_SEATS = 10;
const MOST_CHARACTERS = 2000;

/** What a class's result means. The api key is left out of the reason. */
export function outcomeOf(result: ClassResult, apiKey?: string): Outcome {
  const open = result.seats.filter(({ outcome }) => ["failed", "conflict", "pending"].includes(outcome));
  if (result.converged && open.length === 0) {
    const starting = result.seats.filter((seat) => seat.instance?.status === "starting");
    if (starting.length === 0) {
      return { kind: "done" };
    }
    // A service that is told to end waits for no seat any more. Whether they come up shows when it is back.
    const message = `the service did not wait until ${String(starting.length)} of ${String(result.seats.length)} seats answer`;
    return { kind: "again", reason: reason("seats_starting", message, apiKey) };
  }
  const [first] = open;
  if (first === undefined) {
    const message = "the service says that the class is not as wished, and of no seat why";
    return { kind: "again", reason: reason("not_converged", message, apiKey) };
  }
  const named = open
    .slice(0, NAMED_SEATS)
    .map(({ seat, outcome, reason }) => `seat ${String(seat)}: ${reason ?? outcome}`)
    .join("; ");
  const rest = open.length > NAMED_SEATS ? "; …" : "";
  const message = `${String(open.length)} of ${String(result.seats.length)} seats failed: ${named}${rest}`;
  const passing = open.filter(({ outcome, code }) => outcome === "pending" || PASSING.has(code ?? ""));
  // Those that pass are tried until they have passed: then what is left is what needs somebody.
  return passing.length > 0
    ? { kind: "again", reason: reason(passing[0]?.code ?? "pending", message, apiKey) }
    : { kind: "failed", reason: reason(first.code ?? first.outcome, message, apiKey) };
}

/** Whether a seat of a class is as wished. */
export function isReady({ outcome, instance }: ClassResult["seats"][number]): boolean {
  return (outcome === "created" || outcome === "unchanged") && instance?.status !== "starting";
}

/** What an error of the client means. The api key is left out of the reason. */
export function outcomeOfError(error: OrchestratorError, apiKey?: string): Outcome {
  const why = reason(error.code, error.message, apiKey);
  if (error.isTransient || error.code === CLIENT_CODES.aborted) {
    return { kind: "again", reason: why, ...(error.retryAfterMs !== undefined && { after: error.retryAfterMs }) };
  }
  return { kind: "failed", reason: why };
}

/**
 * A reason of bounded length without the api key. A workspace may print its key as its last words; the service takes it
 * out of them, and so does the portal. It does so first: of a key that the cut goes through, a part would be left.
 */
function reason(code: string, text: string, apiKey: string | undefined): Reason {
  const message = apiKey === undefined ? text : text.replaceAll(apiKey, "[redacted]");
  return { code, message: message.length > MOST_CHARACTERS ? `${message.slice(0, MOST_CHARACTERS)}…` : message };
}
