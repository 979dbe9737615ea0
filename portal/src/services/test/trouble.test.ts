/** A service, or something in its place, that is slow, drops connections, refuses, or talks nonsense. */

import { inspect } from "node:util";

import { afterEach, describe, expect, it } from "vitest";

import { type ClientOptions, Orchestrator, OrchestratorError, type RetryNotice } from "../orchestrator.js";
import {
  type Act,
  answer,
  classBody,
  events,
  half,
  hangUp,
  html,
  problem,
  resultBody,
  scripted,
  type ScriptedServer,
  seatBody,
  silence,
} from "./scripted-server.js";

const servers: ScriptedServer[] = [];
const list = answer(200, { workshops: [] });

async function serving(
  options: ClientOptions,
  ...acts: readonly Act[]
): Promise<{ server: ScriptedServer; client: Orchestrator; retries: RetryNotice[] }> {
  const server = await scripted(...acts);
  servers.push(server);
  const retries: RetryNotice[] = [];
  const onRetry = (notice: RetryNotice) => void retries.push(notice);
  return { server, client: new Orchestrator({ baseUrl: server.url, onRetry, ...options }), retries };
}

async function failure(call: Promise<unknown>): Promise<OrchestratorError> {
  const outcome = await call.then(
    (value) => ({ value }),
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(OrchestratorError);
  return outcome as OrchestratorError;
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server[Symbol.asyncDispose]()));
});

describe("busy and down", () => {
  it.each([429, 503])("%i with Retry-After is repeated after that time", async (status) => {
    const { server, client, retries } = await serving({}, problem(status, "busy", { "retry-after": "1" }), list);
    await client.listClasses();
    expect(server.seen).toHaveLength(2);
    expect(retries).toEqual([{ call: "GET /workshops", attempt: 1, delayMs: 1000, code: "busy" }]);
  });

  it.each([429, 503])("%i without it is repeated after a pause of the client's own", async (status) => {
    const { server, client, retries } = await serving({}, problem(status, "busy"), list);
    await client.listClasses();
    expect(server.seen).toHaveLength(2);
    expect(retries[0]?.delayMs).toBeLessThanOrEqual(200);
  });

  it("does not wait for what comes after the call's time, and says when", async () => {
    const { server, client } = await serving({ timeoutMs: 5_000 }, problem(429, "busy", { "retry-after": "60" }));
    const error = await failure(client.listClasses());
    expect(error).toMatchObject({ code: "busy", status: 429, retryAfterMs: 60_000, isTransient: true });
    expect(server.seen).toHaveLength(1);
  });

  it("gives up after so many retries", async () => {
    const { server, client } = await serving({ retries: 2 }, problem(503, "engine_unavailable"));
    expect(await failure(client.listClasses())).toMatchObject({ code: "engine_unavailable", status: 503 });
    expect(server.seen).toHaveLength(3);
  });

  it("repeats a create and a class as well: the service makes nothing twice", async () => {
    const busy = problem(429, "busy", { "retry-after": "0" });
    const one = await serving({}, busy, hangUp, answer(200, seatBody(1)));
    expect((await one.client.createSeat("rust-101", 1)).seat).toBe(1);
    expect(new Set(one.server.seen.map((seen) => seen.body))).toEqual(new Set(['{"seat":1}']));
    const other = await serving({}, busy, events(["seat", resultBody(1)]), events(["done", classBody(resultBody(1))]));
    expect((await other.client.bringUpClass("rust-101", 1)).converged).toBe(true);
    expect(other.retries.map((retry) => retry.code)).toEqual(["busy", "unreachable"]);
  });

  it("takes a class of which the engine knows nothing for one error", async () => {
    const down = classBody(
      resultBody(1, "failed", "engine_unavailable"),
      resultBody(2, "failed", "engine_unavailable"),
    );
    const { client } = await serving({ retries: 0 }, events(["done", down]));
    expect(await failure(client.bringUpClass("rust-101", 2))).toMatchObject({
      code: "engine_unavailable",
      message: "why engine_unavailable",
      isTransient: true,
    });
  });
});

describe("what is not repeated", () => {
  it.each([
    [400, "invalid_request"],
    [401, "unauthorized"],
    [404, "not_found"],
    [409, "seat_conflict"],
    [500, "internal"],
    [502, "engine_failed"],
  ])("%i %s", async (status, code) => {
    const more = { remedy: "do this", errors: [{ field: "seat", message: "seat is from 1" }] };
    const { server, client } = await serving({}, problem(status, code, { "x-request-id": "r-1" }, more));
    const error = await failure(client.createSeat("rust-101", 1));
    expect(error).toMatchObject({ code, status, requestId: "r-1", isTransient: false });
    expect(error.message).toBe("seat: seat is from 1; do this");
    // As the first portal reads it.
    expect(error.error).toEqual({ code, message: error.message });
    expect(error.problem?.code).toBe(code);
    expect(server.seen).toHaveLength(1);
  });

  it("a redirect", async () => {
    const { server, client } = await serving({}, (response) => {
      response.writeHead(302, { location: "http://127.0.0.1:1/" }).end();
    });
    expect(await failure(client.listClasses())).toMatchObject({ code: "bad_response", status: 302 });
    expect(server.seen).toHaveLength(1);
  });

  it.each([
    ["HTML", html(200)],
    [
      "JSON that is none",
      ((response) => {
        response.writeHead(200, { "content-type": "application/json" }).end('{"workshops": [');
      }) satisfies Act,
    ],
    ["another shape", answer(200, { workshops: [{ name: "x" }] })],
    ["no list", answer(200, { workshops: "none" })],
    ["nothing", answer(200, null)],
  ])("%s in place of JSON", async (_what, act) => {
    const { server, client } = await serving({}, act);
    expect(await failure(client.listClasses())).toMatchObject({ code: "bad_response", isTransient: false });
    expect(server.seen).toHaveLength(1);
  });

  it("JSON in place of events, and events that are none", async () => {
    const { client } = await serving({}, answer(200, classBody()));
    expect(await failure(client.bringUpClass("rust-101", 1))).toMatchObject({ code: "bad_response" });
    const other = await serving({}, (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).end("event: done\ndata: {\n\n");
    });
    expect(await failure(other.client.bringUpClass("rust-101", 1))).toMatchObject({ code: "bad_response" });
  });

  it("a class whose work was lost", async () => {
    const { server, client } = await serving({}, events(["problem", { code: "internal", detail: "lost" }]));
    expect(await failure(client.bringUpClass("rust-101", 1))).toMatchObject({ code: "internal", message: "lost" });
    expect(server.seen).toHaveLength(1);
  });

  it("something that does not speak HTTP", async () => {
    const { client } = await serving({}, (response) => {
      response.socket?.end("SSH-2.0-OpenSSH\r\n");
    });
    expect(await failure(client.listClasses())).toMatchObject({ code: "bad_response" });
  });
});

describe("no whole answer", () => {
  it("is asked for again: a dropped connection, half a body, a proxy without its service", async () => {
    const { server, client, retries } = await serving(
      {},
      hangUp,
      half("application/json", '{"workshops": ['),
      html(502),
      html(504),
      list,
    );
    expect(await client.listClasses()).toEqual([]);
    expect(server.seen).toHaveLength(5);
    expect(retries.map((retry) => retry.code)).toEqual(["unreachable", "unreachable", "bad_response", "bad_response"]);
  });

  it("is asked for again in the middle of a class", async () => {
    const { server, client } = await serving(
      {},
      half("text/event-stream", "event: seat\ndata: "),
      events(["done", classBody(resultBody(1))]),
    );
    expect((await client.bringUpClass("rust-101", 1)).converged).toBe(true);
    expect(server.seen).toHaveLength(2);
  });

  it("says where it looked when nobody listens", async () => {
    const { server, client } = await serving({ retries: 1 }, list);
    await server[Symbol.asyncDispose]();
    const error = await failure(client.listClasses());
    expect(error).toMatchObject({ code: "unreachable", status: undefined, isTransient: true });
    expect(error.message).toContain(server.url);
  });
});

describe("time", () => {
  it.each([
    ["silence", silence],
    [
      "a trickle",
      ((response) => {
        response.writeHead(200, { "content-type": "application/json" });
        const drip = setInterval(() => response.write(" "), 10);
        response.on("close", () => clearInterval(drip));
      }) satisfies Act,
    ],
  ])("ends with %s", async (_what, act) => {
    const { server, client } = await serving({}, act);
    const error = await failure(client.listClasses({ timeoutMs: 200 }));
    expect(error).toMatchObject({ code: "timeout" });
    expect(error.message).toContain("200 ms");
    expect(server.seen).toHaveLength(1);
  });

  it("ends a class that says nothing but that it lives", async () => {
    const { client } = await serving({}, (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const drip = setInterval(() => response.write(": keep-alive\n\n"), 10);
      response.on("close", () => clearInterval(drip));
    });
    expect(await failure(client.bringUpClass("rust-101", 1, { timeoutMs: 200 }))).toMatchObject({ code: "timeout" });
  });

  it.each([
    ["before", silence],
    ["in the middle of", half("text/event-stream", `event: seat\ndata: ${JSON.stringify(resultBody(1))}\n\n`, true)],
  ])("asks for a class again when the service goes silent %s its answer", async (_when, act) => {
    const { server, client, retries } = await serving(
      { silenceMs: 200 },
      act,
      events(["done", classBody(resultBody(1))]),
    );
    expect((await client.bringUpClass("rust-101", 1)).converged).toBe(true);
    expect(server.seen).toHaveLength(2);
    expect(retries.map((retry) => retry.code)).toEqual(["unreachable"]);
  });

  it("lets a class take its time that shows that it lives", async () => {
    const { server, client } = await serving({ silenceMs: 2_000 }, (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      let left = 20;
      const drip = setInterval(() => {
        left -= 1;
        response.write(": keep-alive\n\n");
        if (left === 0) {
          clearInterval(drip);
          response.end(`event: done\ndata: ${JSON.stringify(classBody(resultBody(1)))}\n\n`);
        }
      }, 150);
    });
    expect((await client.bringUpClass("rust-101", 1)).converged).toBe(true);
    expect(server.seen).toHaveLength(1);
  });

  it("counts the pauses", async () => {
    const { client } = await serving({ retries: 1000 }, hangUp);
    expect(["timeout", "unreachable"]).toContain((await failure(client.listClasses({ timeoutMs: 500 }))).code);
  });
});

describe("cancelling", () => {
  it("ends a call that waits, and says why", async () => {
    const stop = new AbortController();
    const { client } = await serving({}, () => {
      stop.abort(new Error("the instructor left"));
    });
    const error = await failure(client.createSeat("rust-101", 1, { signal: stop.signal }));
    expect(error).toMatchObject({ code: "aborted", isTransient: false, cause: stop.signal.reason as Error });
  });

  it("ends a class between two events", async () => {
    const stop = new AbortController();
    const { client } = await serving({}, (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(`event: seat\ndata: ${JSON.stringify(resultBody(1))}\n\n`);
    });
    const onProgress = () => {
      stop.abort();
    };
    const running = client.bringUpClass("rust-101", 2, { signal: stop.signal, onProgress });
    expect(await failure(running)).toMatchObject({ code: "aborted" });
  });

  it("ends a class although its result is there already", async () => {
    const stop = new AbortController();
    const { client } = await serving({}, events(["seat", resultBody(1)], ["done", classBody(resultBody(1))]));
    const onProgress = () => {
      stop.abort();
    };
    const running = client.bringUpClass("rust-101", 1, { signal: stop.signal, onProgress });
    expect(await failure(running)).toMatchObject({ code: "aborted" });
  });

  it("ends the pause before a retry", async () => {
    const stop = new AbortController();
    const { server, client } = await serving(
      {
        onRetry: () => {
          stop.abort();
        },
      },
      problem(503, "busy", { "retry-after": "20" }),
    );
    expect(await failure(client.listClasses({ signal: stop.signal }))).toMatchObject({ code: "aborted" });
    expect(server.seen).toHaveLength(1);
  });

  it("sends nothing when it is cancelled already", async () => {
    const { server, client } = await serving({}, list);
    expect(await failure(client.listClasses({ signal: AbortSignal.abort() }))).toMatchObject({ code: "aborted" });
    expect(server.seen).toHaveLength(0);
  });
});

describe("secrets", () => {
  const acts = {
    "a problem": problem(409, "seat_conflict"),
    HTML: html(200),
    "a hang-up": hangUp,
    silence,
    "half a body": half("application/json", "{"),
    "no HTTP": ((response) => {
      response.socket?.end("what?\r\n");
    }) satisfies Act,
  };
  it.each(Object.entries(acts))("are in no error after %s", async (_what, act) => {
    const { client } = await serving(
      { token: "sk-canary-token", retries: 0, timeoutMs: 500, changeTimeoutMs: 500 },
      act,
    );
    const options = { apiKey: "sk-canary-key", wait: 0 };
    const one = await failure(client.createSeat("rust-101", 1, options));
    const all = await failure(client.bringUpClass("rust-101", 1, { apiKey: "sk-canary-key", timeoutMs: 500 }));
    for (const error of [one, all]) {
      const everything = inspect(error, { depth: Infinity, showHidden: true, getters: true });
      expect(everything + JSON.stringify(error) + String(error.stack)).not.toContain("sk-canary-");
    }
  });
});
