import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

import { environment } from "./portal.js";
import { until } from "./until.js";

/** The programs that have not ended yet. */
const running = new Set<ChildProcess>();

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A program that runs, or has ended. */
export interface Program {
  /** Standard output and standard error, so far. */
  readonly output: () => string;
  /** Its exit code, or the signal that ended it; waits for that. */
  readonly ended: () => Promise<number | string>;
  /** Sends it a signal, and waits until it has ended. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<number | string>;
}

/** Runs a script of the built program with these variables and no others. */
export function run(script: string, variables: Record<string, string>, input = ""): Program {
  const child = spawn(process.execPath, [`dist/${script}.js`], {
    cwd: ROOT,
    env: { PATH: process.env["PATH"] ?? "", ...variables },
    stdio: ["pipe", "pipe", "pipe"],
  });
  running.add(child);
  child.once("close", () => running.delete(child));
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const ended = whenClosed(child);
  return {
    output: () => output,
    ended: () => ended,
    stop: (signal = "SIGTERM") => {
      child.kill(signal);
      return ended;
    },
  };
}

/** A portal in a process of its own. */
export interface PortalProcess extends Program {
  readonly url: string;
}

/** Starts a portal on a folder, and waits until it listens. Ends it when it does not. */
export async function startPortalProcess(folder: string, more: Record<string, string> = {}): Promise<PortalProcess> {
  const program = run("main", await environment(folder, more));
  let code: number | string | undefined;
  void program.ended().then((ended) => (code = ended));
  try {
    const url = await until("the portal to listen", async () => {
      if (code !== undefined) {
        throw new Error(`the portal has ended with ${String(code)}:\n${program.output()}`);
      }
      return /Server listening at (http:\/\/[\d.]+:\d+)/.exec(program.output())?.[1];
    });
    return { ...program, url };
  } catch (error) {
    await program.stop("SIGKILL");
    throw error;
  }
}

/** Ends every program that a test has left running, which a test that fails does. */
export async function endAll(): Promise<void> {
  await Promise.all(
    [...running].map((child) => {
      child.kill("SIGKILL");
      return whenClosed(child);
    }),
  );
}

function whenClosed(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? signal ?? "unknown"));
  });
}
