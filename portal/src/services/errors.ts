/** The one error of this client. */

import type { Problem } from "./types.js";

/** Codes of the client's own; every other one is the service's. */
export const CLIENT_CODES = {
  /** No answer: refused, reset, or broken off. */
  unreachable: "unreachable",
  /** The call took longer than it may. */
  timeout: "timeout",
  /** The caller's signal ended it. */
  aborted: "aborted",
  /** An answer that this service does not give: something else listens there, or a proxy is in between. */
  badResponse: "bad_response",
  /** An argument that no service would take; nothing was sent. */
  invalidArgument: "invalid_argument",
  /** The client was set up in a way that cannot work. */
  configuration: "configuration",
} as const;

interface Details {
  readonly status?: number | undefined;
  readonly problem?: Problem | undefined;
  readonly requestId?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly transient?: boolean | undefined;
  readonly cause?: unknown;
}

/**
 * Why a call failed. It never holds the request: no token and no api key can get into a log by it.
 */
export class OrchestratorError extends Error {
  override readonly name = "OrchestratorError";
  /** A stable word for programs: the service's (`seat_conflict`) or one of {@link CLIENT_CODES}. */
  readonly code: string;
  /** The HTTP status, when there was an answer. */
  readonly status: number | undefined;
  /** The service's problem details, when it sent them. */
  readonly problem: Problem | undefined;
  /** The request's id, which is also in the service's log. */
  readonly requestId: string | undefined;
  /** How long the service asks to wait before the next try, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly isTransient: boolean;
  /** `code` and `message` once more, where callers of the first, scripted portal look for them. */
  readonly error: { readonly code: string; readonly message: string };

  constructor(code: string, message: string, details: Details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.status = details.status;
    this.problem = details.problem;
    this.requestId = details.requestId;
    this.retryAfterMs = details.retryAfterMs;
    this.isTransient = details.transient ?? false;
    this.error = { code, message };
  }
}

/** The caller's own mistake: nothing was sent. */
export function invalid(message: string): OrchestratorError {
  return new OrchestratorError(CLIENT_CODES.invalidArgument, message);
}
