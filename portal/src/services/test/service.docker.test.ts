/** The client and the real service, over containers of a real engine. */

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";

import { afterAll, beforeAll, describe, expect } from "vitest";

import { Orchestrator } from "../orchestrator.js";
import { clientContract } from "./contract.js";
import { isBuilt, type Service, startService } from "./service.js";

const IMAGE = "clarateach-testbed";

function docker(...args: string[]): string {
  return execFileSync("docker", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
}

function hasImage(): boolean {
  try {
    docker("image", "inspect", IMAGE);
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!isBuilt || !hasImage())("over containers", () => {
  const run = randomBytes(3).toString("hex");
  const used = new Set<string>();
  let service: Service;
  const client = () => new Orchestrator({ baseUrl: service.url });

  beforeAll(async () => {
    service = await startService(["--seats-image", IMAGE]);
  });
  afterAll(async () => {
    for (const workshop of used) {
      await client().destroyClass(workshop);
      for (const kind of ["container", "network", "volume"]) {
        const all = kind === "container" ? ["--all"] : [];
        expect(docker(kind, "ls", "--quiet", ...all, "--filter", `label=clarateach.workshop=${workshop}`)).toBe("");
      }
    }
    await service.stop();
    expect(service.log()).not.toContain("sk-canary-");
  });

  clientContract(client, (name) => {
    const workshop = `cl-${name}-${run}`;
    used.add(workshop);
    return workshop;
  });
});
