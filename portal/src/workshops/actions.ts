import { OrchestratorError, type Orchestrator } from "@clarateach/orchestrator-client";

import { CannotOpen, unseal } from "../auth/seal.js";
import type { Facts } from "../store/workshops.js";
import { isReady, outcomeOf, outcomeOfError, type Outcome } from "./outcome.js";

/** What the portal needs of the client. */
export type SeatService = Pick<
  Orchestrator,
  "bringUpClass" | "destroyClass" | "listSeats" | "listClasses" | "getClass"
>;

/** How long a class may take to come up before it is asked for again, in milliseconds. */
const CLASS_TIMEOUT = 20 * 60_000;
/** How long a wish that is no longer wanted waits for the service to take it, before it is called off anyway. */
const ACCEPTED_WITHIN = 10_000;

/** Carries wishes out. */
export class Actions {
  readonly #service: SeatService;
  readonly #sealKey: Buffer;
  readonly #patience: number;

  /** `patience` is how long the service may be silent before it is asked again, in milliseconds. */
  constructor(service: SeatService, sealKey: Buffer, patience: number) {
    this.#service = service;
    this.#sealKey = sealKey;
    this.#patience = patience;
  }

  /** Tries once. `superseded` says that the wish of a class coming up is no longer wanted, `closing` ends anything. */
  async carryOut(facts: Facts, superseded: AbortSignal, closing: AbortSignal): Promise<Outcome> {
    let apiKey: string | undefined;
    const ready = new Set<number>();
    try {
      if (facts.wish !== "running") {
        return await this.#takeDown(facts, closing);
      }
      apiKey = facts.sealedKey === null ? undefined : unseal(this.#sealKey, facts.id, facts.sealedKey);
      return withReady(await this.#bringUp(facts, apiKey, ready, superseded, closing), ready);
    } catch (error) {
      if (error instanceof OrchestratorError) {
        return withReady(outcomeOfError(error, apiKey), ready);
      }
      if (error instanceof CannotOpen) {
        const message =
          "the stored api key cannot be read, because PORTAL_SECRET has changed: start the workshop with its api key";
        return { kind: "failed", reason: { code: "api_key_unreadable", message } };
      }
      throw error;
    }
  }

  async #bringUp(
    facts: Facts,
    apiKey: string | undefined,
    ready: Set<number>,
    superseded: AbortSignal,
    closing: AbortSignal,
  ): Promise<Outcome> {
    // The service takes requests in the order in which they arrive. What comes after this wish must not overtake it,
    // so it is called off only when the service has it.
    const cancel = new AbortController();
    let accepted = false;
    let overdue: NodeJS.Timeout | undefined;
    const callOff = (): void => {
      if (accepted) {
        cancel.abort();
      } else {
        overdue = setTimeout(() => {
          cancel.abort();
        }, ACCEPTED_WITHIN);
      }
    };
    superseded.addEventListener("abort", callOff);
    if (superseded.aborted) {
      callOff();
    }
    try {
      const result = await this.#service.bringUpClass(facts.id, facts.seats, {
        ...(apiKey !== undefined && { apiKey }),
        signal: AbortSignal.any([cancel.signal, closing]),
        timeoutMs: CLASS_TIMEOUT,
        onProgress: (news) => {
          accepted = true;
          if (news.kind === "seat" && isReady(news.seat)) {
            ready.add(news.seat.seat);
          }
          if (superseded.aborted) {
            cancel.abort();
          }
        },
      });
      for (const { seat } of result.seats.filter(isReady)) {
        ready.add(seat);
      }
      return outcomeOf(result, apiKey);
    } finally {
      superseded.removeEventListener("abort", callOff);
      clearTimeout(overdue);
    }
  }

  async #takeDown(facts: Facts, closing: AbortSignal): Promise<Outcome> {
    // Nothing is heard of a deletion until it is done. One that takes longer is asked for again, which does no harm.
    const call = { signal: closing, timeoutMs: this.#patience };
    await this.#service.destroyClass(facts.id, { ...call, keepData: facts.wish !== "deleted" });
    // A seat that was being made for somebody else at that moment may still have come up.
    const left = await this.#service.listSeats(facts.id, call);
    if (left.length === 0) {
      return { kind: "done" };
    }
    const message = `${String(left.length)} seats are still there after the workshop was destroyed`;
    return { kind: "again", reason: { code: "seats_left", message } };
  }
}

/** An outcome, with how many seats were told to be as wished. */
function withReady(outcome: Outcome, ready: ReadonlySet<number>): Outcome {
  return outcome.kind === "again" && ready.size > 0 ? { ...outcome, ready: ready.size } : outcome;
}
