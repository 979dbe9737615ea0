/** The program: reads the configuration, runs the portal, and ends it on SIGTERM or SIGINT. */

import { ConfigError, readConfig } from "./config.js";
import { CannotListen, makePortal, type Portal } from "./portal.js";
import { CannotOpenDatabase } from "./store/errors.js";

/** How long answers that are under way may take when the portal ends, in milliseconds. */
const CLOSE_WITHIN = 10_000;

const EXIT_FAILED = 1;
const EXIT_CONFIGURATION = 2;

async function main(): Promise<void> {
  // What the portal writes is for nobody else on this machine.
  process.umask(0o077);
  const portal = await makePortal(readConfig(process.env));
  endOnSignals(portal);
  try {
    await portal.listen();
  } catch (error) {
    await portal.close();
    throw error;
  }
}

function endOnSignals(portal: Portal): void {
  let ending = false;
  const end = (signal: NodeJS.Signals): void => {
    if (ending) {
      process.exit(EXIT_FAILED);
    }
    ending = true;
    portal.app.log.info({ signal }, "ending");
    setTimeout(() => {
      portal.app.log.error("answers took too long; ending without them");
      process.exit(EXIT_FAILED);
    }, CLOSE_WITHIN).unref();
    portal.close().then(
      () => {
        portal.app.log.info("ended");
      },
      (error: unknown) => {
        portal.app.log.error({ err: error }, "could not end in order");
        process.exitCode = EXIT_FAILED;
      },
    );
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
}

main().catch((error: unknown) => {
  if (error instanceof ConfigError) {
    process.stderr.write(`${error.message}\n`);
    process.exit(EXIT_CONFIGURATION);
  }
  process.stderr.write(`cannot start: ${explain(error)}\n`);
  process.exit(EXIT_FAILED);
});

/** What a person can do something about, or all there is for who looks for the fault. */
function explain(error: unknown): string {
  if (error instanceof CannotOpenDatabase || error instanceof CannotListen) {
    return error.message;
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
