import { execFileSync } from "node:child_process";

/** The image of seats in tests. */
export const IMAGE = "clarateach-testbed";

/** What the engine's command line says. */
export function docker(...args: readonly string[]): string {
  return execFileSync("docker", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
}

/** Whether there is an engine with the images of the tests; what needs them is skipped otherwise. */
export function hasImages(): boolean {
  try {
    docker("image", "inspect", IMAGE, `${IMAGE}:slow`);
    return true;
  } catch {
    return false;
  }
}

/** The containers, networks and volumes of a workshop. */
export function objectsOf(workshop: string): string[] {
  return ["container", "network", "volume"].flatMap((kind) => {
    const all = kind === "container" ? ["--all"] : [];
    const found = docker(kind, "ls", "--quiet", ...all, "--filter", `label=clarateach.workshop=${workshop}`);
    return found === "" ? [] : found.split("\n").map((id) => `${kind} ${id}`);
  });
}
