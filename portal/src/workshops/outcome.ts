import { CLIENT_CODES, OrchestratorError, type ClassResult } from "@clarateach/orchestrator-client";

import type { Reason } from "../store/workshops.js";

/** What became of a try. */
export type Outcome =
  | { readonly kind: "done" }
  /** Another try may help, after `after` milliseconds when the service said so. */
  | { readonly kind: "again"; readonly reason: Reason; readonly after?: number }
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

/** What a class's result means. */
export function outcomeOf(result: ClassResult): Outcome {
  const open = result.seats.filter(({ outcome }) => ["failed", "conflict", "pending"].includes(outcome));
  if (result.converged && open.length === 0) {
    return { kind: "done" };
  }
  const [first] = open;
  if (first === undefined) {
    const message = "the service says that the class is not as wished, and of no seat why";
    return { kind: "again", reason: { code: "not_converged", message } };
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
    ? { kind: "again", reason: reason(passing[0]?.code ?? "pending", message) }
    : { kind: "failed", reason: reason(first.code ?? first.outcome, message) };
}

/** What an error of the client means. */
export function outcomeOfError(error: OrchestratorError): Outcome {
  const why = reason(error.code, error.message);
  if (error.isTransient || error.code === CLIENT_CODES.aborted) {
    return { kind: "again", reason: why, ...(error.retryAfterMs !== undefined && { after: error.retryAfterMs }) };
  }
  return { kind: "failed", reason: why };
}

/** A reason of bounded length. */
function reason(code: string, message: string): Reason {
  return { code, message: message.length > MOST_CHARACTERS ? `${message.slice(0, MOST_CHARACTERS)}…` : message };
}
