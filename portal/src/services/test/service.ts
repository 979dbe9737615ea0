/** A real `orchestrator serve` for a test, cut off from the settings of whoever runs it. */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The service's binary: the one that a test run names, else the one that `make build` makes. */
export const binary =
  process.env["CLARATEACH_TEST_SERVICE"] ??
  fileURLToPath(new URL("../../../../target/debug/orchestrator", import.meta.url));

/** Whether it is there; tests that need it are skipped otherwise. */
export const isBuilt = existsSync(binary);

/** How long a start may take, in milliseconds. */
const START_MS = 30_000;

/** A running service. */
export interface Service extends AsyncDisposable {
  readonly url: string;
  /** Everything that it has logged. */
  log(): string;
  /** Ends it with this signal and waits until it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts it and waits until it listens; a port of 0 takes a free one. */
export async function startService(flags: readonly string[], token?: string, port = 0): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), "orchestrator-service-"));
  const config = join(folder, "orchestrator.toml");
  await writeFile(config, "# Empty on purpose: no file of this machine has a say.\n");
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("ORCHESTRATOR_"));
  const listen = `127.0.0.1:${String(port)}`;
  const child = spawn(binary, ["serve", "--log-format", "json", "--config", config, "--listen", listen, ...flags], {
    env: { ...Object.fromEntries(inherited), ...(token === undefined ? {} : { ORCHESTRATOR_TOKEN: token }) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stdout.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    await ended(child, signal);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const address = await listening(child, () => log);
    return { url: `http://${address}`, log: () => log, stop, [Symbol.asyncDispose]: () => stop() };
  } catch (error) {
    await stop("SIGKILL");
    throw error;
  }
}

async function listening(child: ChildProcess, log: () => string): Promise<string> {
  const until = Date.now() + START_MS;
  while (Date.now() < until && child.exitCode === null) {
    const found = /"address":"([^"]+)"/.exec(
      log()
        .split("\n")
        .find((line) => line.includes('"listening"')) ?? "",
    );
    if (found?.[1] !== undefined) {
      return found[1];
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`the service does not listen:\n${log()}`);
}

function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve();
      return;
    }
    child.once("exit", () => resolve());
    child.kill(signal);
  });
}
