/** The client and the real service, over simulated seats. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { Orchestrator } from "../orchestrator.js";
import { clientContract } from "./contract.js";
import { isBuilt, type Service, startService } from "./service.js";

const TOKEN = "sk-canary-service-token";

describe.skipIf(!isBuilt)("over simulated seats", () => {
  let service: Service;
  beforeAll(async () => {
    service = await startService(["--provider", "sim"], TOKEN);
  });
  afterAll(async () => {
    await service.stop();
    expect(service.log()).not.toContain("sk-canary-");
  });
  const client = () => new Orchestrator({ baseUrl: service.url, token: TOKEN });

  clientContract(client, (name) => `sim-${name}`);

  it("is let in only with the token", async () => {
    const other = new Orchestrator({ baseUrl: service.url, token: "sk-canary-wrong" });
    await expect(other.listClasses()).rejects.toMatchObject({ status: 401, isTransient: false });
  });
});

describe.skipIf(!isBuilt)("a service that restarts", () => {
  it("is waited for", async () => {
    const first = await startService(["--provider", "sim"]);
    const port = Number(new URL(first.url).port);
    let again: Promise<Service> | undefined;
    const client = new Orchestrator({
      baseUrl: first.url,
      retries: 1000,
      onRetry: () => {
        again ??= startService(["--provider", "sim"], undefined, port);
      },
    });
    await first.stop("SIGKILL");
    try {
      expect(await client.listClasses()).toEqual([]);
      expect(again).toBeDefined();
    } finally {
      await (await again)?.stop();
    }
  });
});

describe.skipIf(!isBuilt)("a class that is too large for the line", () => {
  it("ends with 429 and the time to wait", async () => {
    const service = await startService([
      "--provider",
      "sim",
      "--sim-latency",
      "1s",
      "--creates-parallel",
      "1",
      "--creates-queue",
      "1",
    ]);
    try {
      const client = new Orchestrator({ baseUrl: service.url, retries: 0 });
      const running = client.bringUpClass("full", 20).catch(() => undefined);
      const outcome = await (async () => {
        for (;;) {
          const error: unknown = await client.createSeat("other", 1, { wait: 0 }).catch((one: unknown) => one);
          if (error instanceof Error) {
            return error;
          }
          await client.destroySeat("other", 1);
        }
      })();
      expect(outcome).toMatchObject({ status: 429, isTransient: true, retryAfterMs: expect.any(Number) as number });
      await service.stop("SIGKILL");
      await running;
    } finally {
      await service.stop("SIGKILL");
    }
  });
});
