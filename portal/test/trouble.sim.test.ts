/** The portal when the service is not as it should be, or the seats are not. */

import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { Orchestrator } from "@clarateach/orchestrator-client";
import { describe, expect, it } from "vitest";

import { isBuilt, startService, type Service } from "../src/services/test/service.js";
import type { Browser } from "./helpers/browser.js";
import { startPortal, stored, temporaryFolder, withPortal } from "./helpers/portal.js";
import { until } from "./helpers/until.js";

const KEY = "sk-canary-key-of-the-class";

async function withService(
  flags: readonly string[],
  use: (service: Service) => Promise<void>,
  token?: string,
): Promise<void> {
  const service = await startService(["--provider", "sim", ...flags], token);
  try {
    await use(service);
  } finally {
    await service.stop();
    expect(service.log()).not.toContain("sk-canary-");
  }
}

async function begin(browser: Browser, id: string, seats: number, apiKey?: string): Promise<void> {
  const body = { id, seats, ...(apiKey !== undefined && { api_key: apiKey }) };
  expect((await browser.post("/api/workshops", body)).status).toBe(201);
  expect((await browser.post(`/api/workshops/${id}/start`)).status).toBe(202);
}

/** Something that takes connections and never answers. */
async function silent(): Promise<{ readonly server: Server; readonly url: string }> {
  const sockets = new Set<{ destroy: () => void }>();
  const server = createServer((socket) => sockets.add(socket)).listen(0, "127.0.0.1");
  server.on("close", () => sockets.forEach((socket) => socket.destroy()));
  await new Promise((resolve) => server.once("listening", resolve));
  server.unref();
  return { server, url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}` };
}

describe("a service that is down", () => {
  it("makes the state an error after a while, with the reason, and a start tries again", async () => {
    await withPortal(
      async ({ browser, log }) => {
        const ada = await browser();
        await begin(ada, "abc", 2, KEY);
        const failed = await ada.state("abc", "error");
        expect(failed.reason?.code).toBe("unreachable");
        expect(failed.reason?.message).toContain("is it running?");
        expect((await ada.post("/api/workshops/abc/start")).body?.state).toBe("provisioning");
        await ada.state("abc", "error");
        expect((await ada.post("/api/workshops/abc/stop")).body?.state).toBe("stopping");
        expect((await ada.state("abc", "error")).reason?.code).toBe("unreachable");
        expect(log()).not.toContain("sk-canary-");
      },
      { PORTAL_RETRY_FOR: "300ms" },
    );
  });

  it("is waited for by a deletion, which goes on when the answer was given", async () => {
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        await begin(ada, "abc", 1);
        const answer = await ada.delete("/api/workshops/abc");
        expect([answer.status, answer.body?.state]).toEqual([202, "stopping"]);
        expect(answer.headers.get("location")).toBe("/api/workshops/abc");
        const start = await ada.post("/api/workshops/abc/start");
        expect([start.status, start.body?.error?.code]).toEqual([409, "workshop_deleting"]);
        const stop = await ada.post("/api/workshops/abc/stop");
        expect([stop.status, stop.body?.error?.code]).toEqual([409, "workshop_deleting"]);
        const create = await ada.post("/api/workshops", { id: "abc", seats: 1 });
        expect([create.status, create.body?.error?.code]).toEqual([409, "workshop_exists"]);
      },
      {},
      { deleteWait: 100 },
    );
  });
});

describe("a workshop that was never started", () => {
  it("is stopped and deleted without the service, whose seats of that id are not touched", async () => {
    await withPortal(async ({ browser }) => {
      const ada = await browser();
      expect((await ada.post("/api/workshops", { id: "abc", seats: 1 })).status).toBe(201);
      const stopped = await ada.post("/api/workshops/abc/stop");
      expect([stopped.status, stopped.body?.state]).toEqual([202, "created"]);
      expect((await ada.delete("/api/workshops/abc")).status).toBe(204);
      expect((await ada.get("/api/workshops/abc")).status).toBe(404);
    });
  });
});

describe("a service that does not answer", () => {
  it("does not keep anybody waiting for what the portal knows", async () => {
    const { server, url } = await silent();
    try {
      await withPortal(
        async ({ browser }) => {
          const ada = await browser();
          await begin(ada, "abc", 2);
          const shown = await ada.get("/api/workshops/abc");
          expect(shown.body).toMatchObject({
            state: "provisioning",
            instances: null,
            service_error: { code: "timeout" },
          });
          const listed = await ada.get("/api/workshops");
          expect(listed.body?.workshops).toMatchObject([{ state: "provisioning", service_error: { code: "timeout" } }]);
        },
        { ORCHESTRATOR_URL: url },
      );
    } finally {
      server.close();
    }
  });
});

describe.skipIf(!isBuilt)("a real service", () => {
  it("that wants another token makes the state an error at once", async () => {
    await withService(
      [],
      async ({ url }) => {
        await withPortal(
          async ({ browser, log }) => {
            const ada = await browser();
            await begin(ada, "abc", 1, KEY);
            expect((await ada.state("abc", "error")).reason?.code).toBe("unauthorized");
            expect(log()).not.toContain("sk-canary-");
          },
          { ORCHESTRATOR_URL: url, ORCHESTRATOR_TOKEN: "sk-canary-wrong-token" },
        );
      },
      "sk-canary-right-token",
    );
  });

  it("is used with the token that is in the file at that moment", async () => {
    const token = "sk-canary-right-token";
    const folder = temporaryFolder();
    const file = join(folder, "token");
    try {
      await withService(
        [],
        async ({ url }) => {
          writeFileSync(file, "sk-canary-old-token\n");
          await withPortal(
            async ({ browser }) => {
              const ada = await browser();
              await begin(ada, "abc", 1);
              expect((await ada.state("abc", "error")).reason?.code).toBe("unauthorized");
              writeFileSync(file, `${token}\n`);
              await ada.post("/api/workshops/abc/start");
              await ada.state("abc", "running");
            },
            { ORCHESTRATOR_URL: url, ORCHESTRATOR_TOKEN_FILE: file },
          );
        },
        token,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("that has fewer seats than the portal allows says so", async () => {
    await withService(["--seats-max", "2"], async ({ url }) => {
      await withPortal(
        async ({ browser }) => {
          const ada = await browser();
          await begin(ada, "abc", 3);
          const { reason } = await ada.state("abc", "error");
          expect(reason?.code).toBe("invalid_request");
          expect(reason?.message).toContain("2");
        },
        { ORCHESTRATOR_URL: url },
      );
    });
  });

  it("that has no room in its line is asked again until it has", async () => {
    await withService(
      ["--sim-latency", "200ms", "--creates-parallel", "1", "--creates-queue", "1"],
      async ({ url }) => {
        const client = new Orchestrator({ baseUrl: url });
        const others = client.bringUpClass("full", 6);
        await withPortal(
          async ({ browser }) => {
            const ada = await browser();
            await until("the line to be full", async () => (await client.listSeats("full")).length === 6);
            await begin(ada, "abc", 1);
            await until("the portal to say why it waits", async () => {
              const { body } = await ada.get("/api/workshops/abc");
              return body?.state === "provisioning" && body.reason?.code === "queue_full";
            });
            await ada.state("abc", "running");
            expect((await others).converged).toBe(true);
          },
          { ORCHESTRATOR_URL: url },
        );
      },
    );
  });
});

describe.skipIf(!isBuilt)("seats", () => {
  it("that do not work make the state an error, which names them", async () => {
    await withService(["--seats-image", "sim/exits"], async ({ url }) => {
      await withPortal(
        async ({ browser }) => {
          const ada = await browser();
          await begin(ada, "abc", 2);
          const { reason } = await ada.state("abc", "error");
          expect(reason?.code).toBe("seat_broken");
          expect(reason?.message).toMatch(/2 of 2 seats failed: seat 1: .*exit.*; seat 2: .*exit/);
          expect((await ada.delete("/api/workshops/abc")).status).toBe(204);
        },
        { ORCHESTRATOR_URL: url },
      );
    });
  });

  it("that somebody else removes show, and a start makes them again", async () => {
    await withService([], async ({ url }) => {
      await withPortal(
        async ({ browser }) => {
          const ada = await browser();
          await begin(ada, "abc", 3);
          await ada.state("abc", "running");
          await new Orchestrator({ baseUrl: url }).destroySeat("abc", 2);
          const down = await ada.state("abc", "error");
          expect(down.reason?.message).toContain("1 of 3 seats do not run: seat 2 is not there");
          expect((await ada.get("/api/workshops")).body?.workshops).toMatchObject([{ state: "error" }]);
          expect((await ada.post("/api/workshops/abc/start")).body?.state).toBe("provisioning");
          await ada.state("abc", "running");
        },
        { ORCHESTRATOR_URL: url },
      );
    });
  });

  it("that are there with another api key are left alone, and the reason says so", async () => {
    await withService([], async ({ url }) => {
      await withPortal(
        async ({ browser, log }) => {
          await new Orchestrator({ baseUrl: url }).createSeat("abc", 1, { apiKey: "sk-canary-older" });
          const ada = await browser();
          await begin(ada, "abc", 2, KEY);
          expect((await ada.state("abc", "error")).reason?.code).toBe("seat_conflict");
          expect((await ada.get("/api/workshops/abc")).body?.counts?.running).toBe(2);
          await ada.post("/api/workshops/abc/stop");
          await ada.state("abc", "stopped");
          await ada.post("/api/workshops/abc/start");
          await ada.state("abc", "running");
          expect(log()).not.toContain("sk-canary-");
        },
        { ORCHESTRATOR_URL: url },
      );
    });
  });
});

describe.skipIf(!isBuilt)("the api key of a class that runs", () => {
  it.each([
    ["one", KEY],
    ["none", undefined],
  ])("when it has %s is not replaced by another before a stop; the same is no change", async (_which, key) => {
    await withService([], async ({ url }) => {
      await withPortal(
        async ({ browser, log }) => {
          const ada = await browser();
          await begin(ada, "abc", 1, key);
          await ada.state("abc", "running");
          const start = (apiKey?: string) =>
            ada.post("/api/workshops/abc/start", apiKey === undefined ? undefined : { api_key: apiKey });
          const refused = await start("sk-canary-another");
          expect([refused.status, refused.body?.error?.code]).toEqual([409, "workshop_running"]);
          expect(refused.body?.error?.message).toContain("stop it first");
          expect((await ada.get("/api/workshops/abc")).body).toMatchObject({ state: "running", reason: null });
          // The key that the seats have is still the stored one: asking for them with it is no conflict.
          for (const again of [undefined, key]) {
            expect((await start(again)).status).toBe(202);
            await ada.state("abc", "running");
          }
          await ada.post("/api/workshops/abc/stop");
          await ada.state("abc", "stopped");
          expect((await start("sk-canary-another")).status).toBe(202);
          await ada.state("abc", "running");
          const other = { apiKey: "sk-canary-another" };
          expect((await new Orchestrator({ baseUrl: url }).bringUpClass("abc", 1, other)).counts.unchanged).toBe(1);
          expect(log()).not.toContain("sk-canary-");
        },
        { ORCHESTRATOR_URL: url },
      );
    });
  });
});

describe.skipIf(!isBuilt)("a stored api key", () => {
  it("cannot be read with another secret; a start with the key replaces it", async () => {
    const folder = temporaryFolder();
    try {
      await withService([], async ({ url }) => {
        const first = await startPortal(folder, { ORCHESTRATOR_URL: url });
        const made = await (await first.browser()).post("/api/workshops", { id: "abc", seats: 1, api_key: KEY });
        await first.close();
        expect(made.body?.has_api_key).toBe(true);

        const second = await startPortal(folder, { ORCHESTRATOR_URL: url, PORTAL_SECRET: "another ".repeat(5) });
        try {
          const ada = await second.browser();
          await ada.post("/api/workshops/abc/start");
          const failed = await ada.state("abc", "error");
          expect(failed.reason?.code).toBe("api_key_unreadable");
          await ada.post("/api/workshops/abc/start", { api_key: KEY });
          await ada.state("abc", "running");
          const { counts } = await new Orchestrator({ baseUrl: url }).bringUpClass("abc", 1, { apiKey: KEY });
          expect(counts.unchanged).toBe(1);
          expect(second.log() + stored(folder)).not.toContain("sk-canary-");
        } finally {
          await second.close();
        }
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
