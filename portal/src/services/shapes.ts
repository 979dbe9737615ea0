/** Answers looked at before they are believed: the types are promises of a document, not of the wire. */

import { CLIENT_CODES, OrchestratorError } from "./errors.js";
import type { ClassResult, Instance, Ready, SeatResult, StageEvent, Workshop, WorkshopSummary } from "./types.js";

type Members = Readonly<Record<string, "string" | "number" | "array">>;

function has(value: unknown, members: Members): boolean {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const fields = value as Readonly<Record<string, unknown>>;
  return Object.entries(members).every(([name, kind]) =>
    kind === "array" ? Array.isArray(fields[name]) : typeof fields[name] === kind,
  );
}

function strange(what: string): OrchestratorError {
  return new OrchestratorError(
    CLIENT_CODES.badResponse,
    `the orchestrator's answer is not ${what}: is it of the same version as this client?`,
  );
}

const INSTANCE: Members = { workshop: "string", seat: "number", status: "string" };
const SUMMARY: Members = { workshop: "string", seats: "number", running: "number" };
const RESULT: Members = { seat: "number", outcome: "string" };

/** One seat. */
export function instance(value: unknown): Instance {
  if (!has(value, INSTANCE)) {
    throw strange("a seat");
  }
  return value as Instance;
}

/** The seats of a workshop. */
export function seats(value: unknown): Instance[] {
  if (!has(value, { seats: "array" })) {
    throw strange("a list of seats");
  }
  return (value as { seats: unknown[] }).seats.map(instance);
}

/** A workshop with its seats. */
export function workshop(value: unknown): Workshop {
  if (!has(value, { workshop: "string", running: "number", seats: "array" })) {
    throw strange("a workshop");
  }
  (value as { seats: unknown[] }).seats.forEach(instance);
  return value as Workshop;
}

/** All workshops in numbers. */
export function summaries(value: unknown): WorkshopSummary[] {
  const list: unknown[] = has(value, { workshops: "array" }) ? (value as { workshops: unknown[] }).workshops : [0];
  if (!list.every((one) => has(one, SUMMARY))) {
    throw strange("a list of workshops");
  }
  return list as WorkshopSummary[];
}

/** What became of a class. */
export function classResult(value: unknown): ClassResult {
  if (!has(value, { workshop: "string", seats: "array" })) {
    throw strange("the result of a class");
  }
  (value as { seats: unknown[] }).seats.forEach(seatResult);
  return value as ClassResult;
}

/** What became of a seat. */
export function seatResult(value: unknown): SeatResult {
  if (!has(value, RESULT)) {
    throw strange("the result of a seat");
  }
  return value as SeatResult;
}

/** A stage of a seat. */
export function stage(value: unknown): StageEvent {
  if (!has(value, { seat: "number", stage: "string" })) {
    throw strange("a stage of a seat");
  }
  return value as StageEvent;
}

/** Whether the service can serve. */
export function ready(value: unknown): Ready {
  if (!has(value, { status: "string", checks: "array" })) {
    throw strange("a word on whether it is ready");
  }
  return value as Ready;
}

/** The data of an event. */
export function json(data: string): unknown {
  try {
    return JSON.parse(data) as unknown;
  } catch {
    throw strange("an event with JSON in it");
  }
}
