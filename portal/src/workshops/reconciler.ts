/**
 * Brings every workshop from what is to what was wished for.
 *
 *   wish ──► database ──► nudge ──► task of that workshop ──► orchestrator
 *                ▲                      │    again: pause, doubled each time, until the time for it is over
 *                └── reached / failed ──┘
 *
 * There is at most one task per workshop, and the tasks of different workshops go on side by side. A task reads the
 * wish, tries to carry it out, and notes what became of it under the wish's revision, so that a newer wish is never
 * taken for reached. Everything is asked for in a way that may be repeated. Thus nothing has to be remembered: after a
 * restart the wishes that are neither reached nor given up are simply tried again, and deletions in any case.
 *
 * The time for it begins with the first try that fails, however long that took, and begins anew with a try after which
 * more seats are as wished than ever before. There are only so many seats, and so it always ends.
 */

import type { FastifyBaseLogger } from "fastify";

import type { Facts, Reason, WorkshopStore } from "../store/workshops.js";
import type { Actions } from "./actions.js";
import type { Outcome } from "./outcome.js";

/** How a task goes on when a try failed; all in milliseconds. */
export interface RetryPolicy {
  /** The first pause. */
  readonly first: number;
  /** The longest pause. */
  readonly longest: number;
  /** For how long a wish goes on being tried after it failed first. */
  readonly within: number;
}

interface Task {
  ended: Promise<void>;
  /** There may be a newer wish than the one that is being carried out. */
  nudged: boolean;
  /** Ends the pause, and a wish of a class coming up. */
  supersede: AbortController;
  trouble: Reason | undefined;
}

/** The wish that a task is at. */
interface Progress {
  revision: number;
  tries: number;
  /** Since when it fails without getting further. */
  failingSince: number | undefined;
  /** The most seats that were as wished after a try. */
  ready: number;
}

/** Carries the wishes of all workshops out. */
export class Reconciler {
  readonly #store: WorkshopStore;
  readonly #actions: Actions;
  readonly #policy: RetryPolicy;
  readonly #log: FastifyBaseLogger;
  readonly #now: () => number;
  readonly #tasks = new Map<string, Task>();
  readonly #closing = new AbortController();

  /** `now` is the clock, in milliseconds. */
  constructor(
    store: WorkshopStore,
    actions: Actions,
    policy: RetryPolicy,
    log: FastifyBaseLogger,
    now: () => number = Date.now,
  ) {
    this.#now = now;
    this.#store = store;
    this.#actions = actions;
    this.#policy = policy;
    this.#log = log;
  }

  /** Takes every wish up again that was neither reached nor given up when the portal ended, and every deletion. */
  async resume(): Promise<void> {
    for (const id of await this.#store.resume()) {
      this.#log.info({ workshop: id }, "taking up again what was not finished");
      this.nudge(id);
    }
  }

  /** Looks at a workshop's wish, which may be a new one. */
  nudge(id: string): void {
    const running = this.#tasks.get(id);
    if (running !== undefined) {
      running.nudged = true;
      running.supersede.abort();
    } else if (!this.#closing.signal.aborted) {
      const task: Task = {
        ended: Promise.resolve(),
        nudged: false,
        supersede: new AbortController(),
        trouble: undefined,
      };
      this.#tasks.set(id, task);
      task.ended = this.#run(id, task);
    }
  }

  /** The same, when the wish has changed; else only makes sure that somebody is at it. */
  nudgeIf(id: string, changed: boolean): void {
    if (changed || !this.#tasks.has(id)) {
      this.nudge(id);
    }
  }

  /** What the last try of a workshop's wish met, while it goes on being tried. */
  trouble(id: string): Reason | undefined {
    return this.#tasks.get(id)?.trouble;
  }

  /** Resolves when nothing is done for a workshop any more, or the portal closes. */
  async idle(id: string): Promise<void> {
    await this.#tasks.get(id)?.ended;
  }

  /** Stops all tasks where they are. What the service has begun it finishes. */
  async close(): Promise<void> {
    this.#closing.abort();
    const tasks = [...this.#tasks.values()];
    for (const task of tasks) {
      task.supersede.abort();
    }
    await Promise.all(tasks.map((task) => task.ended));
  }

  async #run(id: string, task: Task): Promise<void> {
    const progress: Progress = { revision: -1, tries: 0, failingSince: undefined, ready: 0 };
    for (;;) {
      if (task.nudged) {
        task.nudged = false;
        task.supersede = new AbortController();
      }
      let more = true;
      try {
        more = await this.#step(id, task, progress);
      } catch (error) {
        // The database, or a fault of this program. The wish is still there, so it is looked at again.
        this.#log.error({ err: error, workshop: id }, "work on a workshop failed");
        task.trouble = { code: "internal", message: "the portal could not note how far it is; its log says why" };
        await pause(this.#pauseAfter(++progress.tries), task.supersede.signal);
      }
      // No await between this and the end: a nudge finds either this task going on, or none.
      if (this.#closing.signal.aborted || (!more && !isNudged(task))) {
        this.#tasks.delete(id);
        return;
      }
    }
  }

  /** One try. Whether there is more to do. */
  async #step(id: string, task: Task, progress: Progress): Promise<boolean> {
    const facts = await this.#store.get(id);
    if (facts === undefined || facts.reached || facts.error !== null) {
      return false;
    }
    if (facts.revision !== progress.revision) {
      Object.assign(progress, { revision: facts.revision, tries: 0, failingSince: undefined, ready: 0 });
      task.trouble = undefined;
      this.#log.info({ workshop: id, wish: facts.wish, seats: facts.seats, by: facts.changedBy }, "work begins");
    }
    progress.tries += 1;
    const outcome = await this.#actions.carryOut(facts, task.supersede.signal, this.#closing.signal);
    return this.#note(facts, outcome, task, progress);
  }

  async #note(facts: Facts, outcome: Outcome, task: Task, progress: Progress): Promise<boolean> {
    const told = { workshop: facts.id, wish: facts.wish, tries: progress.tries };
    if (outcome.kind === "done") {
      await (facts.wish === "deleted"
        ? this.#store.remove(facts.id, facts.revision)
        : this.#store.reach(facts.id, facts.revision));
      this.#log.info(told, "work is done");
      return true;
    }
    if (this.#closing.signal.aborted || task.nudged) {
      return true;
    }
    const after = Math.max(outcome.kind === "again" ? (outcome.after ?? 0) : 0, this.#pauseAfter(progress.tries));
    if (outcome.kind === "failed" || this.#failingFor(outcome.ready ?? 0, progress) + after > this.#policy.within) {
      await this.#store.fail(facts.id, facts.revision, outcome.reason);
      this.#log.warn({ ...told, code: outcome.reason.code, detail: outcome.reason.message }, "work is given up");
      return true;
    }
    task.trouble = outcome.reason;
    this.#log.warn(
      { ...told, code: outcome.reason.code, detail: outcome.reason.message, after },
      "work is tried again",
    );
    await pause(after, task.supersede.signal);
    return true;
  }

  /** For how many milliseconds a wish has failed without getting further, after a try with so many seats as wished. */
  #failingFor(ready: number, progress: Progress): number {
    const now = this.#now();
    if (ready > progress.ready) {
      progress.ready = ready;
      progress.failingSince = now;
    }
    progress.failingSince ??= now;
    return now - progress.failingSince;
  }

  /** The pause after so many tries; somewhat random, so that many workshops do not ask in step. */
  #pauseAfter(tries: number): number {
    const { first, longest } = this.#policy;
    return Math.round(Math.min(first * 2 ** Math.min(tries - 1, 20), longest) * (0.5 + Math.random() / 2));
  }
}

/** A function, because the compiler takes a member that this task sets for one that nobody else sets. */
function isNudged(task: Task): boolean {
  return task.nudged;
}

/** Waits so many milliseconds, or until the signal. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });
}
