/** The parts that need no server. */

import { readFile } from "node:fs/promises";

import openapiTS, { astToString } from "openapi-typescript";
import { describe, expect, it } from "vitest";

import { OrchestratorError } from "../errors.js";
import { type ServerEvent, serverEvents } from "../events.js";
import { pauseBefore, retryAfter } from "../retry.js";

async function* inPieces(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text, "utf8");
  for (let at = 0; at < bytes.length; at += size) {
    yield await Promise.resolve(bytes.subarray(at, at + size));
  }
}

async function eventsOf(text: string, size: number): Promise<ServerEvent[]> {
  const found: ServerEvent[] = [];
  for await (const event of serverEvents(inPieces(text, size))) {
    found.push(event);
  }
  return found;
}

describe("server-sent events", () => {
  const text =
    ': a comment\n\nevent: stage\ndata: {"é": 1}\n\ndata: one\r\ndata:two\rid: 7\r\n\r\nevent: empty\n\ndata\n\nevent: cut\ndata: off';
  it.each([1, 2, 3, 7, 1000])("are the same however they are cut (%i bytes)", async (size) => {
    expect(await eventsOf(text, size)).toEqual([
      { name: "stage", data: '{"é": 1}' },
      { name: "message", data: "one\ntwo" },
      { name: "message", data: "" },
    ]);
  });

  it("have a bound", async () => {
    await expect(eventsOf(`data: ${"x".repeat(5 * 1024 * 1024)}`, 65_536)).rejects.toMatchObject({
      code: "bad_response",
    });
    const many = `data: ${"x".repeat(1024 * 1024)}\n\n`.repeat(8);
    expect(await eventsOf(many, 65_536)).toHaveLength(8);
  });
});

describe("Retry-After", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  it.each([
    ["7", 7_000],
    ["0", 0],
    [" 3 ", 3_000],
    ["Thu, 01 Jan 2026 00:00:05 GMT", 5_000],
    ["Thu, 01 Jan 2025 00:00:00 GMT", 0],
    ["-5", undefined],
    ["1.5", undefined],
    ["soon", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("%j is %j ms", (header, expected) => {
    expect(retryAfter(header, now)).toBe(expected);
  });
});

describe("the pause before a retry", () => {
  const busy = new OrchestratorError("busy", "x", { transient: true });
  it("doubles up to a bound, and differs between callers", () => {
    const at = (attempt: number, random: number) => pauseBefore(busy, attempt, 99, Infinity, () => random);
    expect([at(1, 0), at(1, 1), at(2, 1), at(3, 1), at(20, 1)]).toEqual([100, 200, 400, 800, 5_000]);
  });
  it("is none for what cannot get better, after the last retry, or when no time is left", () => {
    expect(pauseBefore(new OrchestratorError("x", "x"), 1, 9, Infinity)).toBeUndefined();
    expect(pauseBefore(busy, 3, 2, Infinity)).toBeUndefined();
    expect(pauseBefore(busy, 1, 9, 50)).toBeUndefined();
  });
});

describe("the types", () => {
  it("are those of the service's document (npm run generate)", async () => {
    const document = new URL("../../../../openapi/orchestrator.json", import.meta.url);
    const checkedIn = await readFile(new URL("../generated/api.ts", import.meta.url), "utf8");
    const fresh = astToString(await openapiTS(document));
    // The command line puts a comment of its own before what the library makes.
    expect(checkedIn.endsWith(fresh)).toBe(true);
  });
});
