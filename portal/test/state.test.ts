import { describe, expect, it } from "vitest";

import type { Facts } from "../src/store/workshops.js";
import { stateOf, stateWithCounts, stateWithSeats, type SeatView } from "../src/workshops/state.js";

function facts(more: Partial<Facts>): Facts {
  return {
    id: "rust-101",
    seats: 3,
    wish: "running",
    reached: true,
    revision: 1,
    error: null,
    sealedKey: null,
    createdAt: "",
    createdBy: "ada",
    changedAt: "",
    changedBy: "ada",
    ...more,
  };
}

function seats(...statuses: SeatView["status"][]): SeatView[] {
  return statuses.map((status, index) => ({ seat: index + 1, status, reason: null }));
}

const NONE = { running: 0, starting: 0, stopped: 0, error: 0 };

describe("the state from the facts", () => {
  it.each([
    ["created", { wish: "created", reached: true }],
    ["provisioning", { wish: "running", reached: false }],
    ["running", { wish: "running", reached: true }],
    ["stopping", { wish: "stopped", reached: false }],
    ["stopped", { wish: "stopped", reached: true }],
    ["stopping", { wish: "deleted", reached: false }],
    ["error", { wish: "running", reached: false, error: { code: "refused", message: "no" } }],
  ] as const)("is %s for %o", (state, more) => {
    expect(stateOf(facts(more)).state).toBe(state);
  });

  it("says what goes on being tried", () => {
    const trouble = { code: "unreachable", message: "is it running?" };
    expect(stateOf(facts({ reached: false }), trouble)).toEqual({ state: "provisioning", reason: trouble });
    expect(stateOf(facts({ reached: true }), trouble).reason).toBeNull();
  });
});

describe("the state with the seats", () => {
  it("is running when all of them run, whatever else is there", () => {
    expect(stateWithSeats(facts({}), seats("running", "running", "running", "error")).state).toBe("running");
  });

  it("is error, and says which seats are down and why", () => {
    const there: SeatView[] = [
      { seat: 1, status: "running", reason: null },
      { seat: 3, status: "error", reason: "the workspace exits with code 3" },
    ];
    const { state, reason } = stateWithSeats(facts({}), there);
    expect(state).toBe("error");
    expect(reason?.code).toBe("seats_down");
    expect(reason?.message).toContain("2 of 3 seats do not run: seat 2 is not there; seat 3 the workspace exits");
  });

  it("is provisioning while seats start by themselves", () => {
    expect(stateWithSeats(facts({}), seats("running", "starting", "running"))).toMatchObject({
      state: "provisioning",
      reason: { code: "seats_starting" },
    });
  });

  it("names no more than ten seats", () => {
    const { reason } = stateWithSeats(facts({ seats: 100 }), []);
    expect(reason?.message).toContain("seat 10 is not there; …");
    expect(reason?.message).not.toContain("seat 11");
  });

  it("has no say unless running was reached", () => {
    expect(stateWithSeats(facts({ wish: "stopped" }), seats("running")).state).toBe("stopped");
    expect(stateWithSeats(facts({ reached: false }), []).state).toBe("provisioning");
  });
});

describe("the state with numbers of seats", () => {
  it.each([
    ["running", { ...NONE, running: 3 }],
    ["running", { ...NONE, running: 4 }],
    ["provisioning", { ...NONE, running: 2, starting: 1 }],
    ["error", { ...NONE, running: 2 }],
    ["error", { ...NONE, running: 2, error: 1 }],
    ["error", NONE],
  ] as const)("is %s for %o", (state, counts) => {
    expect(stateWithCounts(facts({}), counts).state).toBe(state);
  });
});
