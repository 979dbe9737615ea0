/** What the portal does with a real service, whatever its seats are made of. */

import { rmSync } from "node:fs";
import { join } from "node:path";

import { Orchestrator } from "@clarateach/orchestrator-client";
import { afterEach, beforeEach, expect, it } from "vitest";

import { Connection } from "../src/store/sqlite.js";
import { startService, type Service } from "../src/services/test/service.js";
import { answered, Browser } from "./helpers/browser.js";
import { PASSWORDS, startPortal, stored, temporaryFolder, type TestPortal } from "./helpers/portal.js";
import { startPortalProcess } from "./helpers/process.js";
import { until } from "./helpers/until.js";

const KEY = "sk-canary-key-of-the-class";
const TOKEN = "sk-canary-token-of-the-service";

/** What the seats are made of. */
export interface Infrastructure {
  /** Flags of a service whose seats answer at once. */
  readonly quick: readonly string[];
  /** Flags of a service whose seats take seconds until they answer. */
  readonly slow: readonly string[];
  /** A workshop's id for the test, by a short name. */
  readonly workshop: (name: string) => string;
}

/** Registers the tests. */
export function portalContract({ quick, slow, workshop }: Infrastructure): void {
  let folder: string;
  /** Everything that logged something, to be looked through at the end. */
  let logs: (() => string)[];
  /** What is to be ended: portals first, then the workshops, then the services that know them. */
  let cleanup: Record<"portals" | "workshops" | "services", (() => Promise<unknown>)[]>;

  beforeEach(() => {
    folder = temporaryFolder();
    logs = [];
    cleanup = { portals: [], workshops: [], services: [] };
  });

  afterEach(async () => {
    try {
      await inOrder([...cleanup.portals, ...cleanup.workshops, ...cleanup.services]);
      for (const text of [...logs.map((log) => log()), ...answered, stored(folder)]) {
        expect(text).not.toContain("sk-canary-");
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  async function service(flags: readonly string[], port = 0): Promise<Service> {
    const started = await startService(flags, TOKEN, port);
    logs.push(() => started.log());
    cleanup.services.push(() => started.stop());
    return started;
  }

  async function portal(of: Service, more: Record<string, string> = {}): Promise<TestPortal> {
    const started = await startPortal(folder, at(of, more));
    logs.push(() => started.log());
    cleanup.portals.push(() => started.close());
    return started;
  }

  function at(of: Service, more: Record<string, string> = {}): Record<string, string> {
    return { ORCHESTRATOR_URL: of.url, ORCHESTRATOR_TOKEN: TOKEN, ...more };
  }

  function client(of: Service): Orchestrator {
    return new Orchestrator({ baseUrl: of.url, token: TOKEN });
  }

  /** A workshop that is gone at the end, also when the test fails. */
  function named(name: string, of: () => Service): string {
    const id = workshop(name);
    cleanup.workshops.push(() => client(of()).destroyClass(id));
    return id;
  }

  /** Makes a workshop and starts it. */
  async function begin(browser: Browser, id: string, seats: number): Promise<void> {
    expect((await browser.post("/api/workshops", { id, seats, api_key: KEY })).status).toBe(201);
    const started = await browser.post(`/api/workshops/${id}/start`);
    expect([started.status, started.body?.state], started.text).toEqual([202, "provisioning"]);
  }

  /** Waits until the service is at the seats of a workshop. */
  function underWay(of: Service, id: string): Promise<unknown> {
    return until(`${id} to have seats`, async () => (await client(of).listSeats(id)).length > 0);
  }

  it("brings a class of three from create to delete", async () => {
    const real = await service(quick);
    const id = named("class", () => real);
    const ada = await (await portal(real)).browser();
    const made = await ada.post("/api/workshops", { id, seats: 3, api_key: KEY });
    expect(made.body).toMatchObject({ state: "created", has_api_key: true });
    expect((await ada.get(`/api/workshops/${id}`)).body).toMatchObject({ state: "created", instances: [] });

    const started = await ada.post(`/api/workshops/${id}/start`);
    expect([started.status, started.headers.get("location")]).toEqual([202, `/api/workshops/${id}`]);
    const running = await ada.state(id, "running");
    expect(running.instances?.map(({ seat, status }) => [seat, status])).toEqual([1, 2, 3].map((n) => [n, "running"]));
    for (const { endpoint } of running.instances ?? []) {
      expect((await fetch(`${endpoint}/health`)).status).toBe(200);
    }
    expect((await ada.get("/api/workshops")).body?.workshops).toMatchObject([
      { id, state: "running", counts: { running: 3 } },
    ]);

    expect((await ada.post(`/api/workshops/${id}/stop`)).status).toBe(202);
    expect((await ada.state(id, "stopped")).instances).toEqual([]);
    expect((await ada.post(`/api/workshops/${id}/start`)).status).toBe(202);
    await ada.state(id, "running");

    expect((await ada.delete(`/api/workshops/${id}`)).status).toBe(204);
    expect((await ada.get(`/api/workshops/${id}`)).status).toBe(404);
    expect(await client(real).getClass(id)).toBeUndefined();
  });

  it("starts once, however often it is told to while the first start runs", async () => {
    const real = await service(slow);
    const id = named("twice", () => real);
    const running = await portal(real);
    const ada = await running.browser("ada");
    const grace = await running.browser("grace");
    await begin(ada, id, 2);
    const again = await Promise.all(Array.from({ length: 5 }, () => grace.post(`/api/workshops/${id}/start`)));
    for (const answer of again) {
      expect([answer.status, answer.body?.state, answer.body?.changed_by]).toEqual([202, "provisioning", "ada"]);
    }
    const other = await grace.post(`/api/workshops/${id}/start`, { api_key: "sk-canary-another-key" });
    expect([other.status, other.body?.error?.code]).toEqual([409, "workshop_starting"]);
    const same = await grace.post(`/api/workshops/${id}/start`, { api_key: KEY });
    expect([same.status, same.body?.changed_by], same.text).toEqual([202, "ada"]);
    await ada.state(id, "running");
    expect(running.log().match(/"work begins"/g)).toHaveLength(1);
  });

  it("stops a class in the middle of its start", async () => {
    const real = await service(slow);
    const id = named("stop", () => real);
    const ada = await (await portal(real)).browser();
    await begin(ada, id, 3);
    await underWay(real, id);
    const stopped = await ada.post(`/api/workshops/${id}/stop`);
    expect([stopped.status, stopped.body?.state]).toEqual([202, "stopping"]);
    expect((await ada.state(id, "stopped")).instances).toEqual([]);
    await ada.post(`/api/workshops/${id}/start`);
    expect((await ada.state(id, "running")).counts?.running).toBe(3);
  });

  it("deletes a class in the middle of its start, twice at once", async () => {
    const real = await service(slow);
    const id = named("delete", () => real);
    const running = await portal(real);
    const ada = await running.browser("ada");
    const grace = await running.browser("grace");
    await begin(ada, id, 3);
    await underWay(real, id);
    const path = `/api/workshops/${id}`;
    const answers = await Promise.all([ada.delete(path), grace.delete(path)]);
    // Each answer is 202 when the machine is so slow that the deletion takes longer than an answer waits.
    expect(answers.every(({ status }) => [202, 204].includes(status))).toBe(true);
    await until("the workshop to be gone", async () => (await ada.get(path)).status === 404);
    expect(await client(real).getClass(id)).toBeUndefined();
    expect((await ada.delete(path)).status).toBe(204);
  });

  it("serves three instructors at once, each with a class of her own", async () => {
    const real = await service(quick);
    const running = await portal(real);
    const names = ["ada", "grace", "joan"] as const;
    await Promise.all(
      names.map(async (name) => {
        const id = named(name, () => real);
        const browser = await running.browser(name);
        await begin(browser, id, 2);
        const shown = await browser.state(id, "running");
        expect(shown).toMatchObject({ changed_by: name, counts: { running: 2 } });
        expect((await browser.post(`/api/workshops/${id}/stop`)).status).toBe(202);
        await browser.state(id, "stopped");
        expect((await browser.delete(`/api/workshops/${id}`)).status).toBe(204);
      }),
    );
    expect((await (await running.browser()).get("/api/workshops")).body?.workshops).toEqual([]);
  });

  it.each(["SIGKILL", "SIGTERM"] as const)("goes on after the portal was ended by %s in the middle", async (signal) => {
    const real = await service(slow);
    const id = named(signal.toLowerCase(), () => real);
    const first = await startPortalProcess(folder, at(real));
    logs.push(first.output);
    cleanup.portals.push(() => first.stop("SIGKILL"));
    const ada = await new Browser(first.url).signIn("ada", PASSWORDS.ada);
    await begin(ada, id, 3);
    await underWay(real, id);
    expect(await first.stop(signal)).toBe(signal === "SIGTERM" ? 0 : signal);
    const database = new Connection(join(folder, "data", "portal.db"));
    expect(database.all("SELECT wish, reached, error_code FROM workshops")).toEqual([
      { wish: "running", reached: 0, error_code: null },
    ]);
    database.close();

    const second = await startPortalProcess(folder, at(real));
    logs.push(second.output);
    cleanup.portals.push(() => second.stop("SIGKILL"));
    // The session is still good.
    const again = Object.assign(new Browser(second.url), { cookie: ada.cookie, csrf: ada.csrf });
    await again.state(id, "running");
    // The seats have the key: asking for them with it is no conflict.
    const result = await client(real).bringUpClass(id, 3, { apiKey: KEY });
    expect(result.counts).toMatchObject({ unchanged: 3 });
    expect((await again.delete(`/api/workshops/${id}`)).status).toBe(204);
    expect(await second.stop()).toBe(0);
  });

  it.each(["SIGKILL", "SIGTERM"] as const)(
    "goes on after the service was ended by %s in the middle",
    async (signal) => {
      const first = await service(slow);
      let now = first;
      const id = named(`svc-${signal.slice(3).toLowerCase()}`, () => now);
      const running = await portal(first);
      const ada = await running.browser();
      await begin(ada, id, 3);
      await underWay(first, id);
      await first.stop(signal);
      const waiting = await until("the portal to say why it waits", async () => {
        const { body } = await ada.get(`/api/workshops/${id}`);
        return body?.service_error?.code === "unreachable" && body.reason?.code === "unreachable" ? body : undefined;
      });
      expect([waiting.state, waiting.instances]).toEqual(["provisioning", null]);
      now = await service(slow, Number(new URL(first.url).port));
      expect((await ada.state(id, "running")).counts?.running).toBe(3);
      expect((await ada.delete(`/api/workshops/${id}`)).status).toBe(204);
      expect(await client(now).getClass(id)).toBeUndefined();
    },
  );
}

/** Does everything, also after something failed, and then fails with the first failure. */
async function inOrder(works: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const work of works) {
    await work().catch((error: unknown) => failures.push(error));
  }
  expect(failures).toEqual([]);
}
