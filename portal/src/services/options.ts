/** What callers may say: about the connection, and with each call. */

import type { ClassProgress, Limits } from "./types.js";

/** A call that will be made again. */
export interface RetryNotice {
  /** What is called, without its body: `PUT /workshops/rust-101`. */
  readonly call: string;
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  /** How long the pause before the next one is, in milliseconds. */
  readonly delayMs: number;
  /** The code of the error, as in {@link OrchestratorError.code}. */
  readonly code: string;
}

/** How the service is reached. */
export interface ClientOptions {
  /** Where it is; `http://orchestrator:8080` unless said. */
  readonly baseUrl?: string | undefined;
  /** The bearer token. */
  readonly token?: string | undefined;
  /** A file with the bearer token, read for every call: a token that is replaced needs no restart. */
  readonly tokenFile?: string | undefined;
  /** How long a call may take, retries and pauses included, in milliseconds; 30 000 unless said. */
  readonly timeoutMs?: number | undefined;
  /** The same for making a seat, beside its `wait`, and for destroying: 60 000 unless said. */
  readonly changeTimeoutMs?: number | undefined;
  /** The same for bringing up a class: 900 000, a quarter of an hour, unless said: an image may have to be pulled. */
  readonly classTimeoutMs?: number | undefined;
  /**
   * How long the service may be silent while a class comes up, in milliseconds; 60 000 unless said. It says every 15
   * seconds that it lives; longer silence counts as no answer, and the class is asked for again.
   */
  readonly silenceMs?: number | undefined;
  /** How often a call that failed is made again at most; 4 unless said, 0 for never. */
  readonly retries?: number | undefined;
  /** Is told of every retry, for a log. */
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the call with code `aborted`. What the service has begun it finishes. */
  readonly signal?: AbortSignal | undefined;
  /** How long this call may take, retries included, in milliseconds. */
  readonly timeoutMs?: number | undefined;
}

/** What a seat is made of; what is left out is the service's default. */
export interface SeatSpec {
  /** The learner's key. It is write-only: no answer and no error has it. */
  readonly apiKey?: string | undefined;
  /** The image, as Docker writes it. */
  readonly image?: string | undefined;
  /** Further environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** What the seat may use. */
  readonly limits?: Limits | undefined;
}

/** Making a seat. */
export interface SeatOptions extends CallOptions, SeatSpec {
  /** How long to wait until it is `running`, in seconds, 0 to 600; the service's 30 unless said. */
  readonly wait?: number | undefined;
}

/** Destroying a seat or a class. */
export interface DestroyOptions extends CallOptions {
  /** Keeps the workspace; the next seat of that number has it again. */
  readonly keepData?: boolean | undefined;
}

/** Bringing up a class. */
export interface ClassOptions extends CallOptions, SeatSpec {
  /** Keys of single seats, by number; they come before `apiKey`. */
  readonly apiKeys?: Readonly<Record<number, string>> | undefined;
  /** Destroys the seats that are there and were not wished for. */
  readonly prune?: boolean | undefined;
  /** With `prune`: keeps their workspaces. */
  readonly keepData?: boolean | undefined;
  /** Is told what happens. After a retry it is told of every seat once more. */
  readonly onProgress?: ((progress: ClassProgress) => void) | undefined;
}
