/** What the client asks, and what it makes of good answers. */

import { writeFile } from "node:fs/promises";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, it } from "vitest";

import { type ClassProgress, Orchestrator } from "../orchestrator.js";
import {
  type Act,
  answer,
  classBody,
  events,
  problem,
  resultBody,
  scripted,
  type ScriptedServer,
  seatBody,
} from "./scripted-server.js";

const servers: ScriptedServer[] = [];

async function serving(...acts: readonly Act[]): Promise<ScriptedServer> {
  const server = await scripted(...acts);
  servers.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server[Symbol.asyncDispose]()));
});

describe("calls", () => {
  it("makes a seat with the service's own names", async () => {
    const server = await serving(answer(201, seatBody(1)));
    const client = new Orchestrator({ baseUrl: server.url, token: "sk-canary-token" });
    const seat = await client.createSeat("rust-101", 1, {
      apiKey: "sk-canary-key $HOME \"'\n",
      env: { EDITOR: "vim" },
      limits: { cpus: 1.5 },
      image: "clarateach-workspace",
      wait: 1.5,
    });
    expect(seat.status).toBe("running");
    const [seen] = server.seen;
    expect(`${String(seen?.method)} ${String(seen?.url)}`).toBe("POST /workshops/rust-101/seats?wait=1500ms");
    expect(seen?.headers.authorization).toBe("Bearer sk-canary-token");
    expect(JSON.parse(seen?.body ?? "")).toEqual({
      seat: 1,
      api_key: "sk-canary-key $HOME \"'\n",
      env: { EDITOR: "vim" },
      limits: { cpus: 1.5 },
      image: "clarateach-workspace",
    });
  });

  it("returns a seat that is still starting as it is", async () => {
    const server = await serving(answer(202, seatBody(1, "starting")));
    const seat = await new Orchestrator({ baseUrl: server.url }).createSeat("rust-101", 1, { wait: 0 });
    expect(seat.status).toBe("starting");
  });

  it("sends nothing but what was said", async () => {
    const server = await serving(answer(200, seatBody(1)));
    await new Orchestrator({ baseUrl: server.url }).createSeat("rust-101", 1);
    expect(JSON.parse(server.seen[0]?.body ?? "")).toEqual({ seat: 1 });
    expect(server.seen[0]?.headers.authorization).toBeUndefined();
  });

  it("lists, gets and destroys", async () => {
    const summary = { workshop: "rust-101", seats: 2, running: 2, starting: 0, stopped: 0, error: 0 };
    const server = await serving(
      answer(200, { workshop: "rust-101", seats: [seatBody(1), seatBody(2)] }),
      answer(200, seatBody(2)),
      problem(404, "seat_not_found"),
      answer(200, { workshops: [summary] }),
      answer(200, { ...summary, seats: [seatBody(1)] }),
      problem(404, "workshop_not_found"),
      answer(204, undefined),
      answer(204, undefined),
    );
    const client = new Orchestrator({ baseUrl: `${server.url}/` });
    expect((await client.listSeats("rust-101")).map((seat) => seat.seat)).toEqual([1, 2]);
    expect((await client.getSeat("rust-101", 2))?.seat).toBe(2);
    expect(await client.getSeat("rust-101", 3)).toBeUndefined();
    expect(await client.listClasses()).toEqual([summary]);
    expect((await client.getClass("rust-101"))?.seats).toHaveLength(1);
    expect(await client.getClass("rust-101")).toBeUndefined();
    await client.destroySeat("rust-101", 2, { keepData: true });
    await client.destroyClass("rust-101");
    expect(server.seen.map((seen) => `${seen.method} ${seen.url}`)).toEqual([
      "GET /workshops/rust-101/seats",
      "GET /workshops/rust-101/seats/2",
      "GET /workshops/rust-101/seats/3",
      "GET /workshops",
      "GET /workshops/rust-101",
      "GET /workshops/rust-101",
      "DELETE /workshops/rust-101/seats/2?keep_data=true",
      "DELETE /workshops/rust-101",
    ]);
  });

  it("brings a class up and tells how it goes", async () => {
    const server = await serving(
      events(
        ["stage", { seat: 1, stage: "image", note: null }],
        ["something-new", { any: "thing" }],
        ["seat", resultBody(1)],
        ["seat", resultBody(2, "failed", "image_unavailable")],
        ["done", classBody(resultBody(1), resultBody(2, "failed", "image_unavailable"))],
      ),
    );
    const progress: ClassProgress[] = [];
    const result = await new Orchestrator({ baseUrl: server.url }).bringUpClass("rust-101", [1, 2], {
      apiKeys: { 2: "sk-canary-two" },
      prune: true,
      keepData: true,
      onProgress: (one) => progress.push(one),
    });
    expect(result.converged).toBe(false);
    expect(result.seats[1]?.reason).toBe("why image_unavailable");
    expect(progress.map((one) => (one.kind === "stage" ? one.stage.stage : one.seat.outcome))).toEqual([
      "image",
      "created",
      "failed",
    ]);
    const [seen] = server.seen;
    expect(`${String(seen?.method)} ${String(seen?.url)}`).toBe("PUT /workshops/rust-101?prune=true&keep_data=true");
    expect(seen?.headers.accept).toBe("text/event-stream");
    expect(JSON.parse(seen?.body ?? "")).toEqual({ seats: [1, 2], api_keys: { "2": "sk-canary-two" } });
  });

  it("takes unready for an answer", async () => {
    const body = { status: "unready", checks: [{ name: "docker", ok: false, detail: "down", remedy: "start it" }] };
    const server = await serving((response) => {
      response.writeHead(503, { "content-type": "application/json" }).end(JSON.stringify(body));
    });
    expect(await new Orchestrator({ baseUrl: server.url }).ready()).toEqual(body);
    expect(server.seen).toHaveLength(1);
  });
});

describe("arguments", () => {
  const client = new Orchestrator({ baseUrl: "http://127.0.0.1:1", retries: 0 });
  it.each(["..", "a", "Rust-101", "a/b", "rust 101", "rust-101\n", "x".repeat(21), "%2e%2e", ""])(
    "sends nothing for the workshop %j",
    async (workshop) => {
      await expect(client.destroyClass(workshop)).rejects.toMatchObject({ code: "invalid_argument" });
    },
  );
  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])(
    "sends nothing for the seat %d",
    async (seat) => {
      await expect(client.destroySeat("rust-101", seat)).rejects.toMatchObject({ code: "invalid_argument" });
      await expect(client.bringUpClass("rust-101", seat)).rejects.toMatchObject({ code: "invalid_argument" });
      await expect(client.bringUpClass("rust-101", [1, seat])).rejects.toMatchObject({ code: "invalid_argument" });
    },
  );
  it("sends nothing for seats that are no number and no list", async () => {
    for (const seats of [undefined, null, "3", {}]) {
      await expect(client.bringUpClass("rust-101", seats as never)).rejects.toMatchObject({ code: "invalid_argument" });
    }
  });
  it("sends nothing for a wait or a time that cannot be", async () => {
    await expect(client.createSeat("rust-101", 1, { wait: 601 })).rejects.toMatchObject({ code: "invalid_argument" });
    await expect(client.listClasses({ timeoutMs: 0 })).rejects.toMatchObject({ code: "invalid_argument" });
    expect(() => new Orchestrator({ retries: -1 })).toThrow(/retries/);
  });
});

describe("set-up", () => {
  it.each(["", "orchestrator:8080", "ftp://x", "http://user:pw@x", "/workshops"])("refuses the URL %j", (baseUrl) => {
    expect(() => new Orchestrator({ baseUrl })).toThrow(/base URL/);
  });

  it("reads the environment, and empty is absent", async () => {
    const server = await serving(answer(200, { workshops: [] }));
    const environment = {
      ORCHESTRATOR_URL: server.url,
      ORCHESTRATOR_TOKEN: "sk-canary-env",
      ORCHESTRATOR_TOKEN_FILE: "",
    };
    await Orchestrator.fromEnvironment(environment).listClasses();
    expect(server.seen[0]?.headers.authorization).toBe("Bearer sk-canary-env");
    const both = { ...environment, ORCHESTRATOR_TOKEN_FILE: "/x" };
    expect(() => Orchestrator.fromEnvironment(both)).toThrow(/both/);
    await Orchestrator.fromEnvironment(both, { token: "sk-canary-own" }).listClasses();
    expect(server.seen[1]?.headers.authorization).toBe("Bearer sk-canary-own");
  });

  it("reads a token file for every call", async () => {
    const folder = await mkdtemp(join(tmpdir(), "orchestrator-client-"));
    try {
      const server = await serving(answer(200, { workshops: [] }));
      const tokenFile = join(folder, "token");
      const client = new Orchestrator({ baseUrl: server.url, tokenFile });
      await expect(client.listClasses()).rejects.toMatchObject({ code: "configuration" });
      await writeFile(tokenFile, "sk-canary-one\n");
      await client.listClasses();
      await writeFile(tokenFile, "sk-canary-two\n");
      await client.listClasses();
      expect(server.seen.map((seen) => seen.headers.authorization)).toEqual([
        "Bearer sk-canary-one",
        "Bearer sk-canary-two",
      ]);
      await writeFile(tokenFile, "sk-canary\nthree\n");
      await expect(client.listClasses()).rejects.toMatchObject({
        code: "configuration",
        message: expect.not.stringContaining("sk-canary") as string,
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
