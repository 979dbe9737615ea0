/** One row of the table of settings. */
export interface Setting {
  /** What its value may be, for people. */
  readonly value: string;
  /** The value when the variable is not set; without one it counts as not given. */
  readonly fallback?: string;
  /** What it is for, in one line. */
  readonly purpose: string;
}

/** Every environment variable that the portal reads. The reference in the README is made from it. */
export const SETTINGS = {
  PORTAL_LISTEN: {
    value: "an address with a port",
    fallback: "127.0.0.1:3000",
    purpose: "Where the portal listens. Port 0 takes a free one.",
  },
  PORTAL_DATA_DIR: {
    value: "a folder",
    fallback: "data",
    purpose: "Where the database `portal.db` is; made when it is missing. One portal per folder.",
  },
  PORTAL_SECRET: {
    value: "32 to 4096 characters",
    purpose: "What the keys for cookies, CSRF tokens and stored api keys are derived from. Required.",
  },
  PORTAL_SECRET_FILE: { value: "a file", purpose: "The file with the secret, instead of `PORTAL_SECRET`." },
  PORTAL_USER: {
    value: "letters, digits and `._@-`",
    fallback: "instructor",
    purpose: "The account that `PORTAL_PASSWORD_HASH` belongs to.",
  },
  PORTAL_PASSWORD_HASH: {
    value: "a line of `npm run hash-password`",
    purpose: "The password of that account. This, the file of it or `PORTAL_USERS_FILE` is required.",
  },
  PORTAL_PASSWORD_HASH_FILE: { value: "a file", purpose: "The file with the hash, instead of `PORTAL_PASSWORD_HASH`." },
  PORTAL_USERS_FILE: { value: "a file", purpose: "More accounts, one `name:hash` a line; `#` begins a comment." },
  PORTAL_SESSION_LIFETIME: {
    value: "a duration, 1m to 720h",
    fallback: "12h",
    purpose: "How long a sign-in lasts.",
  },
  PORTAL_SECURE_COOKIES: {
    value: "`true` or `false`",
    fallback: "true",
    purpose: "Whether browsers may send the session over HTTPS only. `false` is for plain HTTP on loopback.",
  },
  PORTAL_TRUST_PROXY: {
    value: "addresses or networks",
    purpose: "The reverse proxies whose `X-Forwarded-For` counts as the address of a caller.",
  },
  PORTAL_REQUESTS_PER_MINUTE: {
    value: "a number, 10 to 100000",
    fallback: "1200",
    purpose: "How many requests one address may make in a minute.",
  },
  PORTAL_MAX_SEATS: {
    value: "a number, 1 to 9999",
    fallback: "100",
    purpose: "The most seats of a workshop; not above the `seats.max` of the service.",
  },
  PORTAL_RETRY_FOR: {
    value: "a duration, 0s to 24h",
    fallback: "10m",
    purpose: "How long work that fails for the time being goes on being tried, before the state is `error`.",
  },
  PORTAL_LOG_LEVEL: {
    value: "`fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`",
    fallback: "info",
    purpose: "What is logged, as JSON lines on standard output.",
  },
  ORCHESTRATOR_URL: {
    value: "an `http://` or `https://` address",
    fallback: "http://orchestrator:8080",
    purpose: "Where the service is.",
  },
  ORCHESTRATOR_TOKEN: { value: "a text", purpose: "The service's bearer token, when it has one." },
  ORCHESTRATOR_TOKEN_FILE: { value: "a file", purpose: "The file with that token, instead of `ORCHESTRATOR_TOKEN`." },
} as const satisfies Readonly<Record<string, Setting>>;

/** The name of a setting. */
export type Variable = keyof typeof SETTINGS;

/** The names of all settings, in the order of the reference. */
export const VARIABLES = Object.keys(SETTINGS) as readonly Variable[];

/** The table of settings as Markdown. */
export function reference(): string {
  const rows = VARIABLES.map((variable) => {
    const setting: Setting = SETTINGS[variable];
    const fallback = setting.fallback === undefined ? "–" : `\`${setting.fallback}\``;
    return `| \`${variable}\` | ${setting.value} | ${fallback} | ${setting.purpose} |`;
  });
  return ["| variable | value | default | what it is for |", "|---|---|---|---|", ...rows].join("\n");
}
