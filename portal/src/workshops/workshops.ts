import { isDeepStrictEqual } from "node:util";

import { OrchestratorError, type Instance } from "@clarateach/orchestrator-client";

import { CannotOpen, seal, unseal } from "../auth/seal.js";
import { ApiError } from "../http/errors.js";
import type { Decide, Facts, Reason, WorkshopStore } from "../store/workshops.js";
import type { SeatService } from "./actions.js";
import type { Reconciler } from "./reconciler.js";
import { stateOf, stateWithCounts, stateWithSeats, type Counts, type StateAndReason } from "./state.js";

/** How often the seats are asked for again because the facts changed meanwhile. */
const MOST_LOOKS = 3;

/** A workshop as it is shown. */
export interface WorkshopView extends StateAndReason {
  readonly facts: Facts;
  readonly counts: Counts | null;
  readonly instances: readonly Instance[] | null;
  /** Why the service could not be asked. */
  readonly serviceError: Reason | null;
}

/** What an instructor can do with workshops. Functions reject with `ApiError` and `StoreError`. */
export class Workshops {
  readonly #store: WorkshopStore;
  readonly #reconciler: Reconciler;
  readonly #service: SeatService;
  readonly #sealKey: Buffer;
  readonly #lookTimeout: number;

  /** `lookTimeout` is how long the service may take to say how the seats are, in milliseconds. */
  constructor(
    store: WorkshopStore,
    reconciler: Reconciler,
    service: SeatService,
    sealKey: Buffer,
    lookTimeout: number,
  ) {
    this.#store = store;
    this.#reconciler = reconciler;
    this.#service = service;
    this.#sealKey = sealKey;
    this.#lookTimeout = lookTimeout;
  }

  /** All of them by id, with how many seats are how far. */
  async list(): Promise<WorkshopView[]> {
    const { facts: all, answer } = await this.#look(
      () => this.#store.list(),
      () => this.#service.listClasses({ timeoutMs: this.#lookTimeout }),
    );
    const byId = new Map(answer.value?.map((summary) => [summary.workshop, summary]));
    return all.map((facts) => {
      if (answer.value === null) {
        return this.#view(facts, answer.error);
      }
      const { running, starting, stopped, error } = byId.get(facts.id) ?? NO_SEATS;
      const counts = { running, starting, stopped, error };
      return { ...this.#view(facts), ...stateWithCounts(facts, counts, this.#reconciler.trouble(facts.id)), counts };
    });
  }

  /** One with its seats, which the service is asked for. */
  async show(id: string): Promise<WorkshopView> {
    const { facts, answer } = await this.#look(
      () => this.#get(id),
      () => this.#service.listSeats(id, { timeoutMs: this.#lookTimeout }),
    );
    if (answer.value === null) {
      return this.#view(facts, answer.error);
    }
    const instances = answer.value;
    const counts = { ...NO_SEATS };
    for (const { status } of instances) {
      counts[status] += 1;
    }
    const state = stateWithSeats(facts, instances, this.#reconciler.trouble(id));
    return { ...this.#view(facts), ...state, counts, instances };
  }

  /** Makes a workshop, still without seats. */
  async create(id: string, seats: number, apiKey: string | undefined, by: string): Promise<WorkshopView> {
    const sealedKey = apiKey === undefined ? null : seal(this.#sealKey, id, apiKey);
    const facts = await this.#store.insert({ id, seats, sealedKey, by });
    if (facts === undefined) {
      throw new ApiError(409, "workshop_exists", `there is a workshop ${id} already: take another id, or delete it`);
    }
    return this.#view(facts);
  }

  /**
   * Wishes for all its seats to run. While that is under way already, nothing changes. Seats that have a key cannot be
   * given another one: the key of a start that is under way, or was reached, is only replaced after a stop.
   */
  async start(id: string, apiKey: string | undefined, by: string): Promise<WorkshopView> {
    return this.#wish(id, by, (facts) => {
      refuseDeleted(facts);
      const isStarted = facts.wish === "running" && facts.error === null;
      if (isStarted && apiKey !== undefined && this.#isOtherKey(facts, apiKey)) {
        const [code, how] = facts.reached ? ["workshop_running", "runs"] : ["workshop_starting", "is starting"];
        const message = `workshop ${id} ${how} with the api key it has: stop it first, then start it with another`;
        throw new ApiError(409, code, message);
      }
      if (isUnderWay(facts, "running")) {
        return undefined;
      }
      return { wish: "running", ...(apiKey !== undefined && { sealedKey: seal(this.#sealKey, id, apiKey) }) };
    });
  }

  /** Wishes for none of its seats to run, and for their data to be kept. One that was never started stays as it is. */
  async stop(id: string, by: string): Promise<WorkshopView> {
    return this.#wish(id, by, (facts) => {
      refuseDeleted(facts);
      return facts.wish === "created" || isUnderWay(facts, "stopped") ? undefined : { wish: "stopped" };
    });
  }

  /**
   * Wishes for it to be gone, with its data, and waits for that until `patience` ends. Gives what is left then;
   * nothing when it is gone, or was not there. For one that was never started the service is not asked: what it may
   * have under that id is not of this workshop.
   */
  async remove(id: string, by: string, patience: Promise<void>): Promise<WorkshopView | undefined> {
    if (await this.#store.removeUnstarted(id)) {
      return undefined;
    }
    const wished = await this.#store.wish(id, by, (facts) =>
      isUnderWay(facts, "deleted") ? undefined : { wish: "deleted" },
    );
    if (wished === undefined) {
      return undefined;
    }
    this.#reconciler.nudgeIf(id, wished.changed);
    await Promise.race([this.#reconciler.idle(id), patience]);
    const left = await this.#store.get(id);
    return left && this.#view(left);
  }

  /** Whether a key is not the stored one. One that cannot be read any more may be replaced by any. */
  #isOtherKey({ id, sealedKey }: Facts, apiKey: string): boolean {
    try {
      return sealedKey === null || unseal(this.#sealKey, id, sealedKey) !== apiKey;
    } catch (error) {
      if (error instanceof CannotOpen) {
        return false;
      }
      throw error;
    }
  }

  async #wish(id: string, by: string, decide: Decide): Promise<WorkshopView> {
    const wished = await this.#store.wish(id, by, decide);
    if (wished === undefined) {
      throw unknown(id);
    }
    this.#reconciler.nudgeIf(id, wished.changed);
    return this.#view(wished.facts);
  }

  async #get(id: string): Promise<Facts> {
    const facts = await this.#store.get(id);
    if (facts === undefined) {
      throw unknown(id);
    }
    return facts;
  }

  /** What the portal knows by itself; `serviceError` says why it is not more, if the service was asked. */
  #view(facts: Facts, serviceError: Reason | null = null): WorkshopView {
    const known = stateOf(facts, this.#reconciler.trouble(facts.id));
    return { facts, ...known, counts: null, instances: null, serviceError };
  }

  /**
   * Facts, and what the service says at the same time. An answer from before the facts changed would make a class that
   * has just come up look broken, so both are read again then.
   */
  async #look<Known, Value>(
    read: () => Promise<Known>,
    call: () => Promise<Value>,
  ): Promise<{ readonly facts: Known; readonly answer: Answer<Value> }> {
    let before = await read();
    for (let tries = 1; ; tries += 1) {
      const answer = await ask(call);
      const facts = await read();
      if (tries === MOST_LOOKS || isDeepStrictEqual(before, facts)) {
        return { facts, answer };
      }
      before = facts;
    }
  }
}

const NO_SEATS = { running: 0, starting: 0, stopped: 0, error: 0 };

type Answer<Value> = { readonly value: Value; readonly error: null } | { readonly value: null; readonly error: Reason };

/** What the service says, or why it cannot be asked: that is part of the answer and no failure. */
async function ask<Value>(call: () => Promise<Value>): Promise<Answer<Value>> {
  try {
    return { value: await call(), error: null };
  } catch (error) {
    if (error instanceof OrchestratorError) {
      return { value: null, error: { code: error.code, message: error.message } };
    }
    throw error;
  }
}

function isUnderWay(facts: Facts, wish: Facts["wish"]): boolean {
  return facts.wish === wish && !facts.reached && facts.error === null;
}

function refuseDeleted(facts: Facts): void {
  if (facts.wish === "deleted") {
    throw new ApiError(409, "workshop_deleting", `workshop ${facts.id} is being deleted`);
  }
}

function unknown(id: string): ApiError {
  return new ApiError(404, "workshop_not_found", `there is no workshop ${id}`);
}
