import { OrchestratorError, type ClassResult } from "@clarateach/orchestrator-client";
import { describe, expect, it } from "vitest";

import { seatBody } from "../src/services/test/scripted-server.js";
import { outcomeOf, outcomeOfError } from "../src/workshops/outcome.js";

type Seat = ClassResult["seats"][number];

function result(...seats: Partial<Seat>[]): ClassResult {
  const whole = seats.map((seat, index) => ({
    seat: index + 1,
    outcome: "created" as const,
    instance: null,
    code: null,
    reason: null,
    took_ms: 1,
    timings: {},
    ...seat,
  }));
  return {
    workshop: "rust-101",
    converged: whole.every(({ outcome }) => outcome === "created" || outcome === "unchanged"),
    counts: { created: 0, unchanged: 0, conflict: 0, failed: 0, destroyed: 0, surplus: 0, pending: 0 },
    took_ms: 1,
    seats: whole,
  };
}

describe("a class's result", () => {
  it("is done when the class is as wished", () => {
    expect(outcomeOf(result({}, { outcome: "unchanged" }))).toEqual({ kind: "done" });
  });

  it("fails with the reasons of the seats when somebody must do something", () => {
    const conflict = { outcome: "conflict", code: "seat_conflict", reason: "another api_key" } as const;
    expect(outcomeOf(result({}, conflict))).toEqual({
      kind: "failed",
      reason: { code: "seat_conflict", message: "1 of 2 seats failed: seat 2: another api_key" },
    });
  });

  it.each(["engine_unavailable", "queue_full", "shutting_down", "timed_out", "seat_superseded", "seat_gone"])(
    "is tried again while a seat failed with %s, also when another needs somebody",
    (code) => {
      const passing = { outcome: "failed", code, reason: "later" } as const;
      const lasting = { outcome: "failed", code: "seat_broken", reason: "boom" } as const;
      expect(outcomeOf(result(lasting, passing))).toMatchObject({ kind: "again", reason: { code } });
    },
  );

  it("is tried again while seats are pending", () => {
    expect(outcomeOf(result({ outcome: "pending" }))).toMatchObject({ kind: "again", reason: { code: "pending" } });
  });

  it("is tried again when the service did not wait for the seats, as it does when it ends", () => {
    const instance = (status: string) => seatBody(1, status) as NonNullable<Seat["instance"]>;
    expect(outcomeOf(result({}, { instance: instance("starting") }))).toMatchObject({
      kind: "again",
      reason: { code: "seats_starting" },
    });
    expect(outcomeOf(result({}, { instance: instance("running") }))).toEqual({ kind: "done" });
  });

  it("is tried again when it says nothing of any seat", () => {
    expect(outcomeOf({ ...result({}), converged: false })).toMatchObject({
      kind: "again",
      reason: { code: "not_converged" },
    });
  });

  it("has a reason of bounded length", () => {
    const broken = { outcome: "failed", code: "seat_broken", reason: "x".repeat(1000) } as const;
    const outcome = outcomeOf(result(...Array.from({ length: 100 }, () => broken)));
    expect(outcome.kind === "failed" && outcome.reason.message.length).toBeLessThan(2100);
  });
});

describe("an api key in a reason", () => {
  const key = "sk-canary-key-of-the-class";

  it.each([0, 1960, 1975, 1985, 1999])("is left out wherever it is cut, here after %d characters", (before) => {
    const text = `${"x".repeat(before)}${key}${"y".repeat(3000)}`;
    const error = outcomeOfError(new OrchestratorError("refused", text), key);
    const broken = { outcome: "failed", code: "seat_broken", reason: text } as const;
    for (const outcome of [error, outcomeOf(result(broken), key)]) {
      const message = outcome.kind === "failed" ? outcome.reason.message : "";
      expect(message.length).toBeGreaterThan(1999);
      expect(message).not.toContain("sk-");
    }
  });
});

describe("an error of the client", () => {
  it("that may pass is tried again, after the time that the service says", () => {
    const error = new OrchestratorError("queue_full", "full", { status: 429, transient: true, retryAfterMs: 7000 });
    expect(outcomeOfError(error)).toEqual({
      kind: "again",
      reason: { code: "queue_full", message: "full" },
      after: 7000,
    });
  });

  it("that does not pass fails", () => {
    const error = new OrchestratorError("unauthorized", "the token is wrong", { status: 401 });
    expect(outcomeOfError(error)).toMatchObject({ kind: "failed", reason: { code: "unauthorized" } });
  });
});
