/**
 * The state of a workshop as an instructor sees it.
 *
 * It is never stored. It follows from what was asked for last (the facts), and, once that is reached, from what the
 * orchestrator says of the seats:
 *
 *   wish      not reached    given up   reached
 *   created                             created
 *   running   provisioning   error      running; provisioning or error when seats do not run
 *   stopped   stopping       error      stopped
 *   deleted   stopping       error      (the workshop is gone)
 */

import type { Facts, Reason } from "../store/workshops.js";

/** How far a workshop is. */
export const STATES = ["created", "provisioning", "running", "stopping", "stopped", "error"] as const;
export type State = (typeof STATES)[number];

/** How many seats are how far. */
export interface Counts {
  readonly running: number;
  readonly starting: number;
  readonly stopped: number;
  readonly error: number;
}

/** A state, and why it is not the one that was asked for. */
export interface StateAndReason {
  readonly state: State;
  readonly reason: Reason | null;
}

/** One seat as far as the state depends on it. */
export interface SeatView {
  readonly seat: number;
  readonly status: "starting" | "running" | "stopped" | "error";
  readonly reason: string | null;
}

/** Why a try of this wish failed that will be made again. */
type Trouble = Reason | undefined;

const NAMED_SEATS = 10;

/** The state from the facts alone. `trouble` is what the last try met, while it goes on being tried. */
export function stateOf(facts: Facts, trouble?: Trouble): StateAndReason {
  if (facts.error !== null) {
    return { state: "error", reason: facts.error };
  }
  if (!facts.reached) {
    return { state: facts.wish === "running" ? "provisioning" : "stopping", reason: trouble ?? null };
  }
  return { state: facts.wish === "deleted" ? "stopping" : facts.wish, reason: null };
}

/** The state with the seats that are there. */
export function stateWithSeats(facts: Facts, seats: readonly SeatView[], trouble?: Trouble): StateAndReason {
  const known = stateOf(facts, trouble);
  if (known.state !== "running") {
    return known;
  }
  const bySeat = new Map(seats.map((seat) => [seat.seat, seat]));
  const wished = Array.from({ length: facts.seats }, (_, index) => index + 1);
  const broken = wished.filter((seat) => !["running", "starting"].includes(bySeat.get(seat)?.status ?? "missing"));
  if (broken.length > 0) {
    const named = broken.slice(0, NAMED_SEATS).map((number) => {
      const seat = bySeat.get(number);
      return `seat ${String(number)} ${seat === undefined ? "is not there" : (seat.reason ?? `is ${seat.status}`)}`;
    });
    return seatsDown(broken.length, facts.seats, named);
  }
  return wished.every((seat) => bySeat.get(seat)?.status === "running") ? known : seatsStarting();
}

/** The state with the numbers of seats that a list has. Seats beyond the wished ones may hide that one is missing. */
export function stateWithCounts(facts: Facts, counts: Counts, trouble?: Trouble): StateAndReason {
  const known = stateOf(facts, trouble);
  if (known.state !== "running" || counts.running >= facts.seats) {
    return known;
  }
  const down = facts.seats - counts.running - counts.starting;
  return down > 0 ? seatsDown(down, facts.seats, []) : seatsStarting();
}

function seatsDown(down: number, all: number, named: readonly string[]): StateAndReason {
  const which = named.length === 0 ? "" : `: ${named.join("; ")}${down > named.length ? "; …" : ""}`;
  const message = `${String(down)} of ${String(all)} seats do not run${which}. Start makes those that are not there`;
  const remedy = `${message}; those that are broken are made anew by stop and start, which keep the data.`;
  return { state: "error", reason: { code: "seats_down", message: remedy } };
}

function seatsStarting(): StateAndReason {
  return { state: "provisioning", reason: { code: "seats_starting", message: "some seats are starting" } };
}
