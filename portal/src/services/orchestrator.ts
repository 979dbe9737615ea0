/**
 * The ClaraTeach orchestrator: seats and classes.
 *
 * ```ts
 * const orchestrator = Orchestrator.fromEnvironment();
 * const result = await orchestrator.bringUpClass("rust-101", 30, { apiKey });
 * ```
 *
 * Every function rejects with {@link OrchestratorError}; what a callback of the caller throws comes through as it is.
 */

import * as args from "./arguments.js";
import { classFrom } from "./bring-up.js";
import { repeated, type RetryPolicy } from "./caller.js";
import { CLIENT_CODES, invalid, OrchestratorError } from "./errors.js";
import type { CallOptions, ClassOptions, ClientOptions, DestroyOptions, SeatOptions, SeatSpec } from "./options.js";
import * as shapes from "./shapes.js";
import { aborted, call, type Request, tokenSource, Transport } from "./transport.js";
import type { ClassResult, Instance, Ready, Workshop, WorkshopSummary } from "./types.js";

export { CLIENT_CODES, OrchestratorError } from "./errors.js";
export type * from "./options.js";
export type * from "./types.js";

/** Where the service is beside the portal in the compose file. */
const DEFAULT_BASE_URL = "http://orchestrator:8080";
/** How long the service waits for a seat unless it is told, in seconds. */
const DEFAULT_WAIT_S = 30;
/** The longest wait that the service takes, in seconds. */
const LONGEST_WAIT_S = 600;

/** A client of one service. It keeps nothing but connections, and can be shared. */
export class Orchestrator {
  readonly #transport: Transport;
  readonly #policy: RetryPolicy;
  readonly #timeoutMs: number;
  readonly #changeTimeoutMs: number;
  readonly #classTimeoutMs: number;
  readonly #silenceMs: number;

  /**
   * @throws OrchestratorError with code `configuration` or `invalid_argument`.
   */
  constructor(options: ClientOptions = {}) {
    const { retries = 4, timeoutMs = 30_000, changeTimeoutMs = 60_000, classTimeoutMs = 900_000 } = options;
    this.#silenceMs = args.milliseconds("silenceMs", options.silenceMs ?? 60_000);
    if (!Number.isSafeInteger(retries) || retries < 0) {
      throw invalid(`retries is a whole number from 0; this is ${String(retries)}`);
    }
    this.#timeoutMs = args.milliseconds("timeoutMs", timeoutMs);
    this.#changeTimeoutMs = args.milliseconds("changeTimeoutMs", changeTimeoutMs);
    this.#classTimeoutMs = args.milliseconds("classTimeoutMs", classTimeoutMs);
    this.#policy = { retries, onRetry: options.onRetry };
    this.#transport = new Transport(options.baseUrl ?? DEFAULT_BASE_URL, tokenSource(options.token, options.tokenFile));
  }

  /**
   * A client as the environment says: `ORCHESTRATOR_URL`, and `ORCHESTRATOR_TOKEN_FILE` or `ORCHESTRATOR_TOKEN`.
   * Empty variables count as absent, and what `options` says comes before them.
   *
   * @throws OrchestratorError with code `configuration` when they contradict each other.
   */
  static fromEnvironment(
    environment: Readonly<Record<string, string | undefined>> = process.env,
    options: ClientOptions = {},
  ): Orchestrator {
    const variable = (name: string): string | undefined => {
      const value = environment[name]?.trim();
      return value === "" ? undefined : value;
    };
    const own = options.token !== undefined || options.tokenFile !== undefined;
    return new Orchestrator({
      ...options,
      baseUrl: options.baseUrl ?? variable("ORCHESTRATOR_URL"),
      token: own ? options.token : variable("ORCHESTRATOR_TOKEN"),
      tokenFile: own ? options.tokenFile : variable("ORCHESTRATOR_TOKEN_FILE"),
    });
  }

  /**
   * Makes a seat, or finds it: the same seat with the same spec is a success. Waits until it is `running`, at most
   * `wait` seconds; after that the seat is returned as it is, `starting`, and goes on.
   *
   * @throws OrchestratorError; `seat_conflict` when the seat is there with another spec.
   */
  async createSeat(workshop: string, seat: number, options: SeatOptions = {}): Promise<Instance> {
    const wait = options.wait ?? DEFAULT_WAIT_S;
    if (!Number.isFinite(wait) || wait < 0 || wait > LONGEST_WAIT_S) {
      throw invalid(`wait is 0 to ${String(LONGEST_WAIT_S)} seconds; this is ${String(wait)}`);
    }
    const request: Request = {
      method: "POST",
      path: `${args.workshopPath(workshop)}/seats`,
      query: { wait: `${String(Math.round(wait * 1000))}ms` },
      body: { seat: args.seatNumber(seat), ...spec(options) },
    };
    return shapes.instance(await this.#json(request, options, this.#changeTimeoutMs + wait * 1000));
  }

  /** The seats of a workshop by number; none for a workshop that is not there. */
  async listSeats(workshop: string, options: CallOptions = {}): Promise<Instance[]> {
    return shapes.seats(await this.#json({ method: "GET", path: `${args.workshopPath(workshop)}/seats` }, options));
  }

  /** One seat; nothing when it is not there. */
  async getSeat(workshop: string, seat: number, options: CallOptions = {}): Promise<Instance | undefined> {
    return this.#unlessAbsent(args.seatPath(workshop, seat), options, shapes.instance);
  }

  /** Destroys a seat. That it was not there is a success. */
  async destroySeat(workshop: string, seat: number, options: DestroyOptions = {}): Promise<void> {
    await this.#destroy(args.seatPath(workshop, seat), options);
  }

  /**
   * Brings a class up: so many seats from number 1, or exactly these. Resolves when every seat is done, well or not:
   * `converged` says whether all are as wished, and `seats` what became of each and why. Asking again finishes what
   * is missing.
   *
   * @throws OrchestratorError when nothing came of the class as a whole.
   */
  async bringUpClass(
    workshop: string,
    seats: number | readonly number[],
    options: ClassOptions = {},
  ): Promise<ClassResult> {
    const query: Record<string, string> = {};
    if (options.prune !== undefined) {
      query["prune"] = String(options.prune);
    }
    if (options.keepData !== undefined) {
      query["keep_data"] = String(options.keepData);
    }
    const request: Request = {
      method: "PUT",
      path: args.workshopPath(workshop),
      query,
      body: { seats: args.classSeats(seats), ...spec(options), api_keys: options.apiKeys },
    };
    const what = call(request);
    return repeated(what, options, this.#classTimeoutMs, this.#policy, async (limits) => {
      const stream = await this.#transport.events(request, limits, this.#silenceMs);
      return classFrom(stream, (news) => {
        options.onProgress?.(news);
        // Whoever cancels while being told is not to get a result all the same, which may have come already.
        if (options.signal?.aborted === true) {
          throw aborted(what, options.signal);
        }
      });
    });
  }

  /** A workshop with its seats; nothing when it has none. */
  async getClass(workshop: string, options: CallOptions = {}): Promise<Workshop | undefined> {
    return this.#unlessAbsent(args.workshopPath(workshop), options, shapes.workshop);
  }

  /** Every workshop that has seats, in numbers. */
  async listClasses(options: CallOptions = {}): Promise<WorkshopSummary[]> {
    return shapes.summaries(await this.#json({ method: "GET", path: "/workshops" }, options));
  }

  /** Destroys a workshop with every seat. That it was not there is a success. */
  async destroyClass(workshop: string, options: DestroyOptions = {}): Promise<void> {
    await this.#destroy(args.workshopPath(workshop), options);
  }

  /** Whether the service can serve, and what it misses: `unready` is an answer and no error. */
  async ready(options: CallOptions = {}): Promise<Ready> {
    const request: Request = { method: "GET", path: "/readyz" };
    return shapes.ready(await this.#json(request, options, this.#timeoutMs, [503]));
  }

  #json(request: Request, options: CallOptions, defaultMs = this.#timeoutMs, accepted: readonly number[] = []) {
    return repeated(call(request), options, defaultMs, this.#policy, (limits) =>
      this.#transport.json(request, limits, accepted),
    );
  }

  async #destroy(path: string, options: DestroyOptions): Promise<void> {
    const query: Record<string, string> = options.keepData === undefined ? {} : { keep_data: String(options.keepData) };
    await this.#json({ method: "DELETE", path, query }, options, this.#changeTimeoutMs);
  }

  async #unlessAbsent<T>(path: string, options: CallOptions, shape: (value: unknown) => T): Promise<T | undefined> {
    try {
      return shape(await this.#json({ method: "GET", path }, options));
    } catch (error) {
      // A 404 of something else that listens there is no word on the seat.
      if (error instanceof OrchestratorError && error.status === 404 && error.code !== CLIENT_CODES.badResponse) {
        return undefined;
      }
      throw error;
    }
  }
}

/** The members of a spec as the service names them; `undefined` ones are left out of JSON. */
function spec(options: SeatSpec) {
  return { api_key: options.apiKey, image: options.image, env: options.env, limits: options.limits };
}
