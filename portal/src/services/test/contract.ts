/** What the client does with a real service, whatever its seats are made of. */

import { expect, it } from "vitest";

import { type ClassProgress, Orchestrator, OrchestratorError } from "../orchestrator.js";

/** Registers the tests; `client` is called within them. */
export function clientContract(client: () => Orchestrator, workshop: (name: string) => string): void {
  it("makes, finds, shows and destroys a seat", async () => {
    const id = workshop("seat");
    const made = await client().createSeat(id, 1, { apiKey: "sk-canary-one" });
    expect(made).toMatchObject({ workshop: id, seat: 1, status: "running" });
    expect((await client().createSeat(id, 1, { apiKey: "sk-canary-one" })).id).toBe(made.id);
    await expect(client().createSeat(id, 1, { apiKey: "sk-canary-two" })).rejects.toMatchObject({
      code: "seat_conflict",
      status: 409,
    });
    expect((await client().getSeat(id, 1))?.id).toBe(made.id);
    expect(await client().getSeat(id, 2)).toBeUndefined();
    await client().destroySeat(id, 1);
    await client().destroySeat(id, 1);
    expect(await client().listSeats(id)).toEqual([]);
  });

  it("brings a class up, finishes it, prunes it and takes it down", async () => {
    const id = workshop("class");
    const news: ClassProgress[] = [];
    const onProgress = (one: ClassProgress) => void news.push(one);
    const result = await client().bringUpClass(id, 2, { apiKeys: { 2: "sk-canary-two" }, onProgress });
    expect(result).toMatchObject({ converged: true, counts: { created: 2 } });
    expect(news.filter((one) => one.kind === "seat")).toHaveLength(2);
    const again = await client().bringUpClass(id, [1, 3], { prune: true });
    expect(again.counts).toMatchObject({ created: 1, unchanged: 1, destroyed: 1 });
    expect((await client().getClass(id))?.seats.map((seat) => seat.seat)).toEqual([1, 3]);
    expect((await client().listClasses()).find((one) => one.workshop === id)?.running).toBe(2);
    await client().destroyClass(id);
    expect(await client().getClass(id)).toBeUndefined();
  });

  it("leaves nothing half made when it is cancelled", async () => {
    const id = workshop("cancel");
    const stop = new AbortController();
    const running = client().bringUpClass(id, 3, { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(running).rejects.toMatchObject({ code: "aborted" });
    // The service goes on; the same wish finds what there is and finishes it.
    expect((await client().bringUpClass(id, 3)).converged).toBe(true);
    await client().destroyClass(id);
    expect(await client().listSeats(id)).toEqual([]);
  });

  it("gets the service's own words for what it refuses", async () => {
    const refused: unknown = await client()
      .bringUpClass(workshop("bad"), 101, { env: { "no name": "x" } })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(OrchestratorError);
    const error = refused as OrchestratorError;
    expect(error).toMatchObject({ code: "invalid_request", status: 400 });
    expect(error.problem?.errors?.length).toBe(2);
    expect(error.requestId).toBe(error.problem?.request_id);
  });

  it("says whether it is ready", async () => {
    expect((await client().ready()).status).toBe("ready");
  });
}
