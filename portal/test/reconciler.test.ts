/** The order of things between the portal and a service that does what a script says. */

import { describe, expect, it } from "vitest";

import {
  answer,
  classBody,
  events,
  hangUp,
  problem,
  resultBody,
  scripted,
  seatBody,
  silence,
  type Act,
  type Seen,
} from "../src/services/test/scripted-server.js";
import type { Browser } from "./helpers/browser.js";
import { withPortal } from "./helpers/portal.js";
import { until } from "./helpers/until.js";

const STREAM = { "content-type": "text/event-stream" };
/** The engine is away, and will be for an hour. */
const BUSY = problem(503, "engine_unavailable", { "retry-after": "3600" });

/** The event with which the service says that it is at a class. */
const STAGE = `event: stage\ndata: ${JSON.stringify({ seat: 1, stage: "queue", note: null })}\n\n`;

/** Answers by method and path: `PUT`, `DELETE`, or `GET` of the seats; the nth with the nth act, later ones with the last. */
function byMethod(acts: Readonly<Record<string, readonly Act[]>>): Act {
  const counts = new Map<string, number>();
  return (response, seen) => {
    const count = counts.get(seen.method) ?? 0;
    counts.set(seen.method, count + 1);
    const all = acts[seen.method] ?? [];
    return all[Math.min(count, all.length - 1)]?.(response, seen);
  };
}

/** Those requests that change something, by method. */
function changes(seen: readonly Seen[]): string[] {
  return seen.filter(({ method }) => method !== "GET").map(({ method, url }) => `${method} ${url}`);
}

async function begin(ada: Browser): Promise<void> {
  expect((await ada.post("/api/workshops", { id: "abc", seats: 1 })).status).toBe(201);
  expect((await ada.post("/api/workshops/abc/start")).status).toBe(202);
}

const seats = (...all: object[]): Act => answer(200, { workshop: "abc", seats: all });

describe("a stop while a class comes up", () => {
  it("is told to the service only when that has taken the start, which it would overtake otherwise", async () => {
    let take: (() => void) | undefined;
    const hold: Act = (response) => {
      take = () => {
        response.writeHead(200, STREAM);
        response.write(STAGE);
      };
    };
    await using service = await scripted(byMethod({ PUT: [hold], DELETE: [answer(204, undefined)], GET: [seats()] }));
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        await begin(ada);
        await until("the start to reach the service", async () => take !== undefined);
        expect((await ada.post("/api/workshops/abc/stop")).body?.state).toBe("stopping");
        // Some round trips later the service still knows of the start alone.
        for (let count = 0; count < 5; count += 1) {
          expect((await ada.get("/api/workshops/abc")).body?.state).toBe("stopping");
        }
        expect(changes(service.seen)).toEqual(["PUT /workshops/abc"]);
        take?.();
        await ada.state("abc", "stopped");
        expect(changes(service.seen)).toEqual(["PUT /workshops/abc", "DELETE /workshops/abc?keep_data=true"]);
      },
      { ORCHESTRATOR_URL: service.url },
    );
  });
});

describe("a deletion after which seats are still there", () => {
  it("is made again until they are gone", async () => {
    let deletions = 0;
    await using service = await scripted(
      byMethod({
        PUT: [problem(409, "refused")],
        DELETE: [
          (response, seen) => {
            deletions += 1;
            return answer(204, undefined)(response, seen);
          },
        ],
        GET: [(response, seen) => (deletions < 2 ? seats(seatBody(1)) : seats())(response, seen)],
      }),
    );
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        await begin(ada);
        await until("the start to be given up", async () => (await ada.get("/api/workshops")).text.includes("refused"));
        expect((await ada.delete("/api/workshops/abc")).status).toBe(204);
        const deletion = "DELETE /workshops/abc?keep_data=false";
        expect(changes(service.seen)).toEqual(["PUT /workshops/abc", deletion, deletion]);
      },
      { ORCHESTRATOR_URL: service.url },
    );
  });
});

describe("a service that says when to ask again", () => {
  it("is not asked before", async () => {
    await using service = await scripted(byMethod({ PUT: [BUSY], DELETE: [answer(204, undefined)], GET: [seats()] }));
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        await begin(ada);
        await until("the portal to say why it waits", async () => {
          const { body } = await ada.get("/api/workshops/abc");
          return body?.state === "provisioning" && body.reason?.code === "engine_unavailable";
        });
        expect(changes(service.seen)).toEqual(["PUT /workshops/abc"]);
        // A newer wish does not wait for that hour.
        expect((await ada.delete("/api/workshops/abc")).status).toBe(204);
      },
      { ORCHESTRATOR_URL: service.url, PORTAL_RETRY_FOR: "2h" },
    );
  });

  it("for later than the portal goes on trying is not waited for", async () => {
    await using service = await scripted(byMethod({ PUT: [BUSY], GET: [seats()] }));
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        await begin(ada);
        expect((await ada.state("abc", "error")).reason?.code).toBe("engine_unavailable");
      },
      { ORCHESTRATOR_URL: service.url },
    );
  });
});

describe("a service that fails", () => {
  const HOUR = 3_600_000;
  const up = JSON.stringify(resultBody(1));

  it("is given its time from the first failure on, and not from the beginning of the work", async () => {
    let now = Date.now();
    const long: Act = (response, seen) => {
      now += 2 * HOUR;
      return hangUp(response, seen);
    };
    const done = events(["done", classBody(resultBody(1))]);
    await using service = await scripted(byMethod({ PUT: [long, done], GET: [seats(seatBody(1))] }));
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        await begin(ada);
        const shown = await until("an end", async () => {
          const { body } = await ada.get("/api/workshops/abc");
          return body?.state === "provisioning" ? undefined : body;
        });
        expect([shown.state, shown.reason]).toEqual(["running", null]);
      },
      { ORCHESTRATOR_URL: service.url, PORTAL_RETRY_FOR: "1h" },
      { now: () => now },
    );
  });

  it("is given it anew when a try gets further, and only then", async () => {
    let now = Date.now();
    const further: Act = (response) => {
      now += 2 * HOUR;
      response.writeHead(200, STREAM);
      response.write(`event: seat\ndata: ${up}\n\n`, () => response.socket?.destroy());
    };
    // The second try makes a seat. The third one finds it, and gets no further.
    await using service = await scripted(byMethod({ PUT: [hangUp, further], GET: [seats()] }));
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        await begin(ada);
        expect((await ada.state("abc", "error")).reason?.code).toBe("unreachable");
        expect(changes(service.seen)).toHaveLength(3);
      },
      { ORCHESTRATOR_URL: service.url, PORTAL_RETRY_FOR: "1h" },
      { now: () => now },
    );
  });
});

describe("a service that takes connections and says nothing", () => {
  it("does not hold up a start, a stop or a deletion: each says why it waits, and ends", async () => {
    let now = Date.now();
    await using service = await scripted(silence);
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        const waits = (code: string) =>
          until(`abc to say ${code}`, async () => {
            const { body } = await ada.get("/api/workshops/abc");
            return body?.reason?.code === code && body.state !== "error" ? body : undefined;
          });
        const ends = async (code: string) => {
          now += 600_001;
          expect((await ada.state("abc", "error")).reason?.code).toBe(code);
        };
        await begin(ada);
        expect((await waits("unreachable")).state).toBe("provisioning");
        await ends("unreachable");
        expect((await ada.post("/api/workshops/abc/stop")).status).toBe(202);
        expect((await waits("timeout")).state).toBe("stopping");
        await ends("timeout");
        const deletion = await ada.delete("/api/workshops/abc");
        expect([deletion.status, deletion.body?.state]).toEqual([202, "stopping"]);
        expect((await waits("timeout")).state).toBe("stopping");
        await ends("timeout");
      },
      { ORCHESTRATOR_URL: service.url },
      { now: () => now, serviceSilence: 100, deleteWait: 100 },
    );
  });

  it("in the middle of a class is asked again, too", async () => {
    const half: Act = (response) => {
      response.writeHead(200, STREAM);
      response.write(STAGE);
    };
    const done = events(["done", classBody(resultBody(1))]);
    await using service = await scripted(byMethod({ PUT: [half, done], GET: [seats(seatBody(1))] }));
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        await begin(ada);
        await ada.state("abc", "running");
      },
      { ORCHESTRATOR_URL: service.url },
      { serviceSilence: 1000 },
    );
  });
});

describe("a reason in which the api key is", () => {
  it("is shown without it", async () => {
    const key = "sk-canary-key-of-the-class";
    const detail = `the workspace exits with code 1: cannot log in with ${key}`;
    await using service = await scripted(
      byMethod({
        PUT: [problem(409, "refused", {}, { detail })],
        GET: [seats()],
      }),
    );
    await withPortal(
      async ({ browser, log }) => {
        const ada = await browser();
        await ada.post("/api/workshops", { id: "abc", seats: 1, api_key: key });
        await ada.post("/api/workshops/abc/start");
        const { reason } = await ada.state("abc", "error");
        expect(reason?.message).toBe("the workspace exits with code 1: cannot log in with [redacted]");
        expect(log()).not.toContain("sk-canary-");
      },
      { ORCHESTRATOR_URL: service.url },
    );
  });
});

describe("a class that comes up while somebody looks", () => {
  it("does not look broken because the service's answer is from before", async () => {
    const seat = {
      seat: 1,
      outcome: "created",
      instance: seatBody(1),
      code: null,
      reason: null,
      took_ms: 1,
      timings: {},
    };
    const counts = { created: 1, unchanged: 0, conflict: 0, failed: 0, destroyed: 0, surplus: 0, pending: 0 };
    const result = { workshop: "abc", converged: true, counts, took_ms: 1, seats: [seat] };
    let finish: (() => void) | undefined;
    let log = (): string => "";
    const late: Act = async (response, seen) => {
      finish?.();
      await until("the class to be up", async () => log().includes("work is done"));
      return seats()(response, seen);
    };
    await using service = await scripted(
      byMethod({
        PUT: [
          (response, seen) => {
            finish = () => void events(["done", result])(response, seen);
          },
        ],
        GET: [late, seats(seatBody(1))],
      }),
    );
    await withPortal(
      async (portal) => {
        log = portal.log;
        const ada = await portal.browser();
        await begin(ada);
        await until("the start to reach the service", async () => finish !== undefined);
        const shown = await ada.get("/api/workshops/abc");
        expect(shown.body).toMatchObject({ state: "running", reason: null, counts: { running: 1 } });
      },
      { ORCHESTRATOR_URL: service.url },
    );
  });
});
