import { readAccounts, type Accounts } from "./config/accounts.js";
import { Reader, type Environment } from "./config/reader.js";
import { SETTINGS } from "./config/settings.js";
import * as values from "./config/values.js";

export type { Accounts } from "./config/accounts.js";
export type { Environment } from "./config/reader.js";

/** The levels of the log. */
export const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

/** How the portal is set up. Durations are in milliseconds. */
export interface Config {
  readonly listen: values.ListenAddress;
  readonly dataDir: string;
  /** Every key of the portal is derived from it. */
  readonly secret: string;
  readonly accounts: Accounts;
  readonly sessionLifetime: number;
  readonly secureCookies: boolean;
  readonly trustedProxies: readonly string[];
  readonly requestsPerMinute: number;
  readonly maxSeats: number;
  readonly retryFor: number;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly orchestratorUrl: string;
  readonly orchestratorToken: string | undefined;
  /** Read for every call, so that a token can be replaced while the portal runs. */
  readonly orchestratorTokenFile: string | undefined;
  /** What is allowed and yet probably not meant; one line each. */
  readonly warnings: readonly string[];
}

/** The configuration is wrong. `problems` has every mistake, none of them with a secret in it. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the configuration is wrong:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/**
 * Reads the configuration from the environment.
 *
 * @throws {ConfigError} with every mistake at once.
 */
export function readConfig(environment: Environment): Config {
  const reader = new Reader(environment);
  const given = {
    listen: reader.value("PORTAL_LISTEN", values.listenAddress),
    dataDir: reader.text("PORTAL_DATA_DIR"),
    secret: reader.valueOrFile("PORTAL_SECRET", "PORTAL_SECRET_FILE", values.portalSecret),
    accounts: readAccounts(reader),
    sessionLifetime: reader.value("PORTAL_SESSION_LIFETIME", values.duration("1m", "720h")),
    secureCookies: reader.value("PORTAL_SECURE_COOKIES", values.flag),
    trustedProxies: reader.value("PORTAL_TRUST_PROXY", values.addressList) ?? [],
    requestsPerMinute: reader.value("PORTAL_REQUESTS_PER_MINUTE", values.whole(10, 100_000)),
    maxSeats: reader.value("PORTAL_MAX_SEATS", values.whole(1, 9999)),
    retryFor: reader.value("PORTAL_RETRY_FOR", values.duration("0s", "24h")),
    logLevel: reader.value("PORTAL_LOG_LEVEL", values.oneOf(LOG_LEVELS)),
    orchestratorUrl: reader.value("ORCHESTRATOR_URL", values.serviceUrl),
  };
  const orchestratorToken = reader.valueOrFile("ORCHESTRATOR_TOKEN", "ORCHESTRATOR_TOKEN_FILE", values.bearerToken);
  if (reader.text("PORTAL_SECRET") === undefined && reader.text("PORTAL_SECRET_FILE") === undefined) {
    reader.problems.push(
      "PORTAL_SECRET or PORTAL_SECRET_FILE must be set: 32 characters or more, for example from: openssl rand -hex 32",
    );
  }
  if (reader.problems.length > 0 || !isComplete(given)) {
    throw new ConfigError(reader.problems);
  }
  const orchestratorTokenFile = reader.text("ORCHESTRATOR_TOKEN_FILE");
  return {
    ...given,
    orchestratorToken: orchestratorTokenFile === undefined ? orchestratorToken : undefined,
    orchestratorTokenFile,
    warnings: warnings(environment, given),
  };
}

type Complete<Given> = { [Key in keyof Given]: Exclude<Given[Key], undefined> };

function isComplete<Given extends object>(given: Given): given is Given & Complete<Given> {
  return !Object.values(given).includes(undefined);
}

function warnings(
  environment: Environment,
  given: { readonly listen: values.ListenAddress; readonly secureCookies: boolean },
): string[] {
  // A warning and not a mistake: orchestration tools set variables of this form for a service that is called "portal".
  const found = Object.keys(environment)
    .filter((name) => name.startsWith("PORTAL_") && !(name in SETTINGS))
    .map((name) => `${name} is not a setting of the portal: see the table in its README`);
  if (!given.secureCookies && !values.isLoopback(given.listen.host)) {
    found.push("PORTAL_SECURE_COOKIES is false on an address that others can reach: sessions can be read on the way");
  }
  return found;
}
