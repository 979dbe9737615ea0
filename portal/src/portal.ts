import type { Writable } from "node:stream";

import { Orchestrator } from "@clarateach/orchestrator-client";
import cookie from "@fastify/cookie";
import rateLimit from "@fastify/rate-limit";
import type { FastifyInstance } from "fastify";

import { KnownDevices } from "./auth/devices.js";
import { deriveKeys } from "./auth/keys.js";
import { Sessions } from "./auth/sessions.js";
import { SignInThrottle } from "./auth/throttle.js";
import type { Config } from "./config.js";
import { ApiError, installErrorHandlers } from "./http/errors.js";
import { installOpenApi } from "./http/openapi.js";
import { sharedSchemas } from "./http/schemas.js";
import { cookieName, installProtection } from "./http/security.js";
import { makeServer } from "./http/server.js";
import { sessionRoutes } from "./http/session-routes.js";
import { HEALTH_PATH, systemRoutes } from "./http/system-routes.js";
import { workshopRoutes } from "./http/workshop-routes.js";
import { Database } from "./store/database.js";
import { SessionStore } from "./store/sessions.js";
import { WorkshopStore } from "./store/workshops.js";
import { Actions, type SeatService } from "./workshops/actions.js";
import { Reconciler, type RetryPolicy } from "./workshops/reconciler.js";
import { Workshops } from "./workshops/workshops.js";

/** How long the service may take to say how seats are while somebody waits for it, in milliseconds. */
const LOOK_TIMEOUT = 5000;

/** What can be set beside the configuration. */
export interface PortalOptions {
  /** Takes the log instead of standard output. */
  readonly log?: Writable;
  /** The clock of sessions, of the pauses between sign-ins, and of giving up, in milliseconds. */
  readonly now?: () => number;
  /** The service, instead of the one that the configuration names. */
  readonly service?: SeatService;
  /** The pauses between tries, in milliseconds. */
  readonly pauses?: Omit<RetryPolicy, "within">;
  /** How long the service may be silent before it is asked again, in milliseconds. It says every 15 s that it lives. */
  readonly serviceSilence?: number;
  /** How long work waits for a database that another process holds, in milliseconds. */
  readonly databasePatience?: number;
  /** How long a deletion is waited for, in milliseconds. */
  readonly deleteWait?: number;
}

/** A portal that runs. */
export interface Portal {
  readonly app: FastifyInstance;
  /** Starts to listen, and gives the address. */
  listen(): Promise<string>;
  /** Answers what is under way, and ends. Work on workshops is taken up again by the next start. */
  close(): Promise<void>;
}

/**
 * Opens the database, takes unfinished work up again, and makes everything ready to listen.
 *
 * @throws CannotOpenDatabase
 */
export async function makePortal(config: Config, options: PortalOptions = {}): Promise<Portal> {
  const app = makeServer(config, options.log);
  const patience = options.databasePatience;
  const database = await Database.open(config.dataDir, patience === undefined ? {} : { patience });
  const keys = deriveKeys(config.secret);
  const silence = options.serviceSilence ?? 45_000;
  const service = options.service ?? makeClient(config, silence);
  const store = new WorkshopStore(database);
  const policy = { ...(options.pauses ?? { first: 500, longest: 15_000 }), within: config.retryFor };
  const actions = new Actions(service, keys.seal, silence);
  const reconciler = new Reconciler(store, actions, policy, app.log, options.now);
  const close = async (): Promise<void> => {
    await reconciler.close();
    await closeServer(app);
    database.close();
  };
  try {
    const sessions = new Sessions(
      new SessionStore(database),
      config.accounts,
      config.sessionLifetime,
      keys.csrf,
      options.now,
    );
    await installRoutes(app, config, {
      sessions,
      throttle: new SignInThrottle(options.now),
      devices: new KnownDevices(config.accounts, keys.device, options.now),
      workshops: new Workshops(store, reconciler, service, keys.seal, Math.min(LOOK_TIMEOUT, silence)),
      cookieKey: keys.cookie,
      deleteWait: options.deleteWait ?? 20_000,
      check: async () => {
        await store.check();
      },
    });
    await app.ready();
    for (const warning of config.warnings) {
      app.log.warn(warning);
    }
    await reconciler.resume();
  } catch (error) {
    await close();
    throw error;
  }
  return { app, listen: () => listen(app, config.listen), close };
}

/** The portal cannot listen where it should. */
export class CannotListen extends Error {
  constructor({ host, port }: Config["listen"], cause: unknown) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    super(`cannot listen on ${host}:${String(port)} (${why}): end what listens there, or correct PORTAL_LISTEN`, {
      cause,
    });
    this.name = "CannotListen";
  }
}

async function listen(app: FastifyInstance, address: Config["listen"]): Promise<string> {
  try {
    return await app.listen(address);
  } catch (error) {
    throw new CannotListen(address, error);
  }
}

/** Answers what is under way. Connections that become idle by that are closed, too: Fastify closes those idle before. */
async function closeServer(app: FastifyInstance): Promise<void> {
  const sweeping = setInterval(() => {
    app.server.closeIdleConnections();
  }, 50);
  try {
    await app.close();
  } finally {
    clearInterval(sweeping);
  }
}

function makeClient(config: Config, silenceMs: number): Orchestrator {
  return new Orchestrator({
    baseUrl: config.orchestratorUrl,
    token: config.orchestratorToken,
    tokenFile: config.orchestratorTokenFile,
    // The portal tries again itself, and tells what it meets meanwhile.
    retries: 0,
    silenceMs,
  });
}

interface Parts {
  readonly sessions: Sessions;
  readonly throttle: SignInThrottle;
  readonly devices: KnownDevices;
  readonly workshops: Workshops;
  readonly cookieKey: Buffer;
  readonly deleteWait: number;
  readonly check: () => Promise<void>;
}

async function installRoutes(app: FastifyInstance, config: Config, parts: Parts): Promise<void> {
  const { sessions, throttle, devices, workshops, deleteWait } = parts;
  const name = cookieName(config.secureCookies);
  installProtection(app, config.secureCookies);
  await app.register(cookie, { secret: parts.cookieKey });
  await app.register(rateLimit, {
    global: false,
    max: config.requestsPerMinute,
    timeWindow: 60_000,
    errorResponseBuilder: (_request, { ttl }) =>
      new ApiError(429, "too_many_requests", "too many requests from this address", Math.ceil(ttl / 1000)),
  });
  limitRequests(app);
  await installOpenApi(app, config.secureCookies);
  installErrorHandlers(app);
  for (const schema of sharedSchemas(config.maxSeats)) {
    app.addSchema(schema);
  }
  systemRoutes(app, parts.check);
  sessionRoutes(app, { sessions, throttle, devices, cookie: name, secureCookies: config.secureCookies });
  await app.register(async (inside) => workshopRoutes(inside, { workshops, sessions, cookie: name, deleteWait }));
}

/** Counts every request before anything else is done for it, also those that nobody is signed in for. */
function limitRequests(app: FastifyInstance): void {
  const limit = app.rateLimit();
  app.addHook("onRequest", async (request, reply) => {
    // Health is asked for by machines, often, and from one address.
    if (request.routeOptions.url !== HEALTH_PATH) {
      await limit.call(app, request, reply);
    }
  });
}
