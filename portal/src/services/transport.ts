/** One HTTP exchange with the service, and what went wrong with it. Knows nothing of seats. */

import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";

import axios, { AxiosError, type AxiosInstance, type AxiosResponse } from "axios";

import { CLIENT_CODES, OrchestratorError } from "./errors.js";
import { retryAfter } from "./retry.js";
import { Silence } from "./silence.js";
import type { Problem } from "./types.js";

/** The most that an answer may have: a listing of every seat of a large host is a fiftieth of it. */
const MOST_BYTES = 16 * 1024 * 1024;

/** What nobody listening, a broken connection or a name that is not known yet look like in Node.js. */
const NO_ANSWER = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ERR_STREAM_PREMATURE_CLOSE",
]);

/** A request. */
export interface Request {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** Ends an exchange: the caller's own signal, or the end of its time. */
export interface Limits {
  readonly signal: AbortSignal | undefined;
  readonly deadline: AbortSignal;
  readonly timeoutMs: number;
  /** Fires when a stream is silent for too long. */
  readonly silence?: Silence;
}

/** Where the token comes from. */
export type TokenSource = () => Promise<string | undefined>;

/** A token that is known, or that a file has. */
export function tokenSource(token: string | undefined, file: string | undefined): TokenSource {
  if (token !== undefined && file !== undefined) {
    throw misconfigured("token and token file are both given; give one");
  }
  if (file !== undefined) {
    return async () => {
      const text = await readFile(file, "utf8").catch((cause: unknown) => {
        throw misconfigured(`the token file ${file} cannot be read: ${reason(cause)}`);
      });
      return checkedToken(text.trim(), `the token file ${file}`);
    };
  }
  const known = token === undefined ? undefined : checkedToken(token.trim(), "the token");
  return () => Promise.resolve(known);
}

function checkedToken(token: string, where: string): string {
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw misconfigured(`${where} is empty or has characters that no token has`);
  }
  return token;
}

function misconfigured(message: string): OrchestratorError {
  return new OrchestratorError(CLIENT_CODES.configuration, message);
}

/** The wire to one service. */
export class Transport {
  readonly #http: AxiosInstance;
  readonly #base: string;
  readonly #token: TokenSource;

  constructor(baseUrl: string, token: TokenSource) {
    const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") {
      throw misconfigured("the base URL is http:// or https:// and has no user and password in it");
    }
    this.#base = url.href.replace(/[?#].*$/, "").replace(/\/+$/, "");
    this.#token = token;
    this.#http = axios.create({
      baseURL: this.#base,
      // The service is on this host or beside it: a proxy of the environment is for the world outside.
      proxy: false,
      maxRedirects: 0,
      maxContentLength: MOST_BYTES,
      validateStatus: () => true,
      // Bodies are read here: what is not JSON shall be told as that.
      transformResponse: (data: unknown) => data,
      headers: { "User-Agent": "clarateach-orchestrator-client" },
    });
  }

  /** The answer's JSON, or nothing for 204. `accepted` are further statuses that are an answer and no error. */
  async json(request: Request, limits: Limits, accepted: readonly number[] = []): Promise<unknown> {
    const response = await this.#send<string>(request, limits, "text", "application/json");
    return this.#answer(request, response, response.data, accepted);
  }

  /**
   * The answer's body as it comes, when it is a stream of events. `silenceMs` is how long nothing may come, the
   * beginning of the answer included.
   */
  async events(request: Request, limits: Limits, silenceMs: number): Promise<AsyncIterable<Uint8Array>> {
    const silence = new Silence(silenceMs);
    try {
      return await this.#stream(request, { ...limits, silence });
    } catch (error) {
      silence.end();
      throw error;
    }
  }

  async #stream(request: Request, limits: Limits): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.#send<Readable>(request, limits, "stream", "text/event-stream");
    if (response.status === 200 && mediaType(response) === "text/event-stream") {
      return this.#bytes(request, response.data, limits);
    }
    let text = "";
    for await (const chunk of this.#bytes(request, response.data, limits)) {
      text += Buffer.from(chunk).toString("latin1");
      if (text.length > MOST_BYTES) {
        break;
      }
    }
    this.#answer(request, response, Buffer.from(text, "latin1").toString("utf8"), []);
    throw this.#strange(request, response);
  }

  /** A stream that ends with an error of ours when it breaks, and is closed when nobody reads on. */
  async *#bytes(request: Request, stream: Readable, limits: Limits): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of stream) {
        limits.silence?.heard();
        yield chunk as Uint8Array;
      }
    } catch (error) {
      throw this.#failure(request, error, limits);
    } finally {
      limits.silence?.end();
      stream.destroy();
    }
  }

  async #send<T>(
    request: Request,
    limits: Limits,
    responseType: "text" | "stream",
    accept: string,
  ): Promise<AxiosResponse<T>> {
    const token = await this.#token();
    const headers: Record<string, string> = { Accept: accept };
    if (token !== undefined) {
      headers["Authorization"] = `Bearer ${token}`;
    }
    if (request.body !== undefined) {
      headers["Content-Type"] = "application/json";
    }
    const signals = [limits.signal, limits.deadline, limits.silence?.signal];
    try {
      return await this.#http.request<T>({
        method: request.method,
        url: request.path,
        params: request.query,
        data: request.body === undefined ? undefined : JSON.stringify(request.body),
        headers,
        responseType,
        signal: AbortSignal.any(signals.filter((signal) => signal !== undefined)),
      });
    } catch (error) {
      throw this.#failure(request, error, limits);
    }
  }

  #answer(request: Request, response: AxiosResponse, text: string, accepted: readonly number[]): unknown {
    const { status } = response;
    if (status === 204) {
      return undefined;
    }
    const type = mediaType(response);
    const body = /^application\/(?:problem\+)?json$/.test(type) ? parsed(text) : undefined;
    if ((status >= 200 && status < 300) || accepted.includes(status)) {
      if (body === undefined) {
        throw this.#strange(request, response);
      }
      return body;
    }
    if (isProblem(body)) {
      throw new OrchestratorError(body.code, withRemedy(body), {
        ...this.#details(response),
        problem: body,
        transient: status === 429 || status === 503,
      });
    }
    throw this.#strange(request, response);
  }

  /** An answer that the service does not give. Those of a proxy may be better next time. */
  #strange(request: Request, response: AxiosResponse): OrchestratorError {
    const status = response.status;
    const what = mediaType(response) === "" ? "something without a type" : mediaType(response);
    return new OrchestratorError(
      CLIENT_CODES.badResponse,
      `${call(request)} at ${this.#base} was answered ${String(status)} with ${what} that is not the orchestrator's: ` +
        "check the URL, and what is between here and the service",
      { ...this.#details(response), transient: [429, 502, 503, 504].includes(status) },
    );
  }

  #details(response: AxiosResponse) {
    const requestId: unknown = response.headers["x-request-id"];
    return {
      status: response.status,
      requestId: typeof requestId === "string" ? requestId : undefined,
      retryAfterMs: retryAfter(response.headers["retry-after"]),
    };
  }

  /** No whole answer. The error of axios is not passed on: it has the request in it, with token and keys. */
  #failure(request: Request, error: unknown, limits: Limits): OrchestratorError {
    if (error instanceof OrchestratorError) {
      return error;
    }
    if (limits.signal?.aborted === true) {
      return aborted(call(request), limits.signal);
    }
    if (limits.deadline.aborted) {
      return timedOut(call(request), limits.timeoutMs);
    }
    if (limits.silence?.signal.aborted === true) {
      return new OrchestratorError(
        CLIENT_CODES.unreachable,
        `${call(request)}: the orchestrator at ${this.#base} went silent; it finishes what it has begun`,
        { transient: true },
      );
    }
    const code = codeOf(error);
    const message = reason(error);
    if (code.startsWith("HPE_") || message.includes("maxContentLength")) {
      const said = `${call(request)} at ${this.#base} was not answered as a service does: ${message}`;
      return new OrchestratorError(CLIENT_CODES.badResponse, said);
    }
    // axios 1 calls a body that breaks off a bad response.
    const brokenOff = error instanceof AxiosError && code === AxiosError.ERR_BAD_RESPONSE;
    return new OrchestratorError(
      CLIENT_CODES.unreachable,
      `${call(request)}: no answer from the orchestrator at ${this.#base} (${message}); is it running?`,
      { transient: brokenOff || NO_ANSWER.has(code) },
    );
  }
}

/** What is called, for a message. */
export function call(request: Request): string {
  return `${request.method} ${request.path}`;
}

/** The caller's signal ended a call. */
export function aborted(what: string, signal: AbortSignal): OrchestratorError {
  const cause: unknown = signal.reason;
  return new OrchestratorError(CLIENT_CODES.aborted, `${what} was cancelled`, { cause });
}

/** A call's time is over. */
export function timedOut(what: string, timeoutMs: number): OrchestratorError {
  return new OrchestratorError(
    CLIENT_CODES.timeout,
    `${what} took longer than ${String(timeoutMs)} ms; the service finishes what it has begun, so asking again is safe`,
    { transient: true },
  );
}

function mediaType(response: AxiosResponse): string {
  const header: unknown = response.headers["content-type"];
  return typeof header === "string" ? (header.split(";")[0] ?? "").trim().toLowerCase() : "";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isProblem(body: unknown): body is Problem {
  return (
    typeof body === "object" &&
    body !== null &&
    "code" in body &&
    typeof body.code === "string" &&
    "detail" in body &&
    typeof body.detail === "string"
  );
}

function withRemedy(problem: Problem): string {
  const fields = problem.errors?.map((field) => `${field.field}: ${field.message}`) ?? [];
  const what = fields.length > 0 ? fields.join("; ") : problem.detail;
  return problem.remedy === undefined ? what : `${what}; ${problem.remedy}`;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

function reason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message === "" ? codeOf(error) : message;
}
