import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";

import { afterAll, describe, expect, it } from "vitest";

import { isBuilt, startService } from "../src/services/test/service.js";
import { portalContract } from "./contract.js";
import { docker, hasImages, IMAGE, objectsOf } from "./helpers/docker.js";
import { startPortal, stored, temporaryFolder } from "./helpers/portal.js";

describe.skipIf(!isBuilt || !hasImages())("the portal over containers", () => {
  const run = randomBytes(3).toString("hex");
  const used = new Set<string>();
  const workshop = (name: string): string => {
    const id = `po-${name}-${run}`;
    used.add(id);
    return id;
  };

  afterAll(() => {
    expect([...used].flatMap(objectsOf)).toEqual([]);
  });

  describe("does what every portal does:", () => {
    portalContract({
      quick: ["--seats-image", IMAGE],
      slow: ["--seats-image", `${IMAGE}:slow`],
      workshop,
    });
  });

  it("passes an api key on unchanged, and keeps the learner's data over stop and start", async () => {
    const key = "sk-canary-'single' \"double\" $HOME `id` \\ tab\t line\nend ünï";
    const id = workshop("key");
    const folder = temporaryFolder();
    const service = await startService(["--seats-image", IMAGE]);
    const portal = await startPortal(folder, { ORCHESTRATOR_URL: service.url });
    try {
      const ada = await portal.browser();
      expect((await ada.post("/api/workshops", { id, seats: 1, api_key: key })).status).toBe(201);
      await ada.post(`/api/workshops/${id}/start`);
      await ada.state(id, "running");
      const name = `clarateach-${id}-1`;
      const variables = JSON.parse(docker("inspect", "--format", "{{json .Config.Env}}", name)) as string[];
      expect(variables).toContain(`ANTHROPIC_API_KEY=${key}`);
      docker("exec", name, "busybox", "sh", "-c", "echo homework > /workspace/file");

      await ada.post(`/api/workshops/${id}/stop`);
      await ada.state(id, "stopped");
      expect(objectsOf(id).map((object) => object.split(" ")[0])).toContain("volume");
      expect(objectsOf(id).some((object) => object.startsWith("container"))).toBe(false);
      const other = "sk-canary-another";
      expect((await ada.post(`/api/workshops/${id}/start`, { api_key: other })).status).toBe(202);
      await ada.state(id, "running");
      expect(docker("exec", name, "busybox", "cat", "/workspace/file")).toBe("homework");
      const after = JSON.parse(docker("inspect", "--format", "{{json .Config.Env}}", name)) as string[];
      expect(after).toContain(`ANTHROPIC_API_KEY=${other}`);

      expect((await ada.delete(`/api/workshops/${id}`)).status).toBe(204);
      expect(objectsOf(id)).toEqual([]);
      for (const text of [service.log(), portal.log(), stored(folder)]) {
        expect(text).not.toContain("sk-canary-");
      }
    } finally {
      await portal.close();
      await fetch(`${service.url}/workshops/${id}`, { method: "DELETE" });
      await service.stop();
      rmSync(folder, { recursive: true });
    }
  });
});
