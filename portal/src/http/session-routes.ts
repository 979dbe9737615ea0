import type { FastifyInstance } from "fastify";

import { KNOWN_FOR, type KnownDevices } from "../auth/devices.js";
import type { OpenedSession, Session, Sessions } from "../auth/sessions.js";
import type { SignInThrottle } from "../auth/throttle.js";
import { ApiError } from "./errors.js";
import { answer, errors, READING, WRITING } from "./schemas.js";
import { callerOf, cookieName, requireSession, tokenOf } from "./security.js";

/** What the routes of the session need. */
export interface SessionRoutes {
  readonly sessions: Sessions;
  readonly throttle: SignInThrottle;
  readonly devices: KnownDevices;
  /** The name of the session cookie. */
  readonly cookie: string;
  readonly secureCookies: boolean;
}

interface Credentials {
  readonly name: string;
  readonly password: string;
}

/** Signing in, out, and asking who one is. */
export function sessionRoutes(app: FastifyInstance, routes: SessionRoutes): void {
  const { sessions, devices, cookie, secureCookies } = routes;
  const deviceCookie = cookieName(secureCookies, "device");
  const deviceOptions = { path: "/", httpOnly: true, sameSite: "strict", secure: secureCookies } as const;
  const cookieOptions = { ...deviceOptions, signed: true };

  app.post<{ Body: Credentials }>(
    "/api/session",
    {
      schema: {
        operationId: "signIn",
        tags: ["session"],
        summary: "Sign in",
        description:
          "Sets the session cookie, and one by which the browser is known the next time. Failed tries are slowed " +
          "down: those of a known browser by themselves, all others per account and per source address.",
        security: [],
        body: { $ref: "Credentials#" },
        response: { 201: answer("Session", "Signed in"), ...errors(...WRITING, 401, 403) },
      },
    },
    async (request, reply) => {
      const { name, password } = request.body;
      const device = devices.find(name, request.cookies[deviceCookie]);
      const opened = await signIn(routes, { address: request.ip, device }, name, password);
      if (opened === undefined) {
        request.log.warn({ address: request.ip, known: device !== undefined }, "sign-in failed");
        throw new ApiError(401, "wrong_credentials", "name or password are wrong");
      }
      const before = tokenOf(request, cookie);
      if (before !== undefined) {
        await sessions.end(before);
      }
      request.log.info({ by: name }, "signed in");
      reply.setCookie(cookie, opened.token, { ...cookieOptions, expires: opened.expiresAt });
      reply.setCookie(deviceCookie, devices.cookie(name, device), { ...deviceOptions, maxAge: KNOWN_FOR / 1000 });
      return reply.code(201).send(view(opened));
    },
  );

  app.register(async (inside) => {
    requireSession(inside, sessions, cookie);

    inside.get(
      "/api/session",
      {
        schema: {
          operationId: "whoAmI",
          tags: ["session"],
          summary: "Who is signed in",
          security: READING,
          response: { 200: answer("Session", "The session"), ...errors(401) },
        },
      },
      async (request) => view(callerOf(request).session),
    );

    inside.delete(
      "/api/session",
      {
        schema: {
          operationId: "signOut",
          tags: ["session"],
          summary: "Sign out",
          description: "The session is over on the server, whoever may have a copy of its cookie.",
          response: { 204: { description: "Signed out", type: "null" }, ...errors(...WRITING, 401, 403) },
        },
      },
      async (request, reply) => {
        await sessions.end(callerOf(request).token);
        reply.clearCookie(cookie, cookieOptions);
        return reply.code(204).send();
      },
    );
  });
}

async function signIn(
  { sessions, throttle }: SessionRoutes,
  from: { readonly address: string; readonly device: string | undefined },
  name: string,
  password: string,
): Promise<OpenedSession | undefined> {
  // Counted as failed before it is checked: many tries at once must not all pass as the first one.
  const attempt = throttle.begin(from.address, name, from.device);
  if (typeof attempt === "number") {
    const seconds = Math.ceil(attempt / 1000);
    const message = `too many failed sign-ins: try again in ${String(seconds)} s`;
    throw new ApiError(429, "too_many_attempts", message, seconds);
  }
  let opened: OpenedSession | undefined;
  try {
    opened = await sessions.open(name, password);
  } catch (error) {
    // Nothing was learned about the password.
    attempt.succeeded();
    throw error;
  }
  if (opened !== undefined) {
    attempt.succeeded();
  }
  return opened;
}

function view(session: Session) {
  return { name: session.name, expires_at: session.expiresAt.toISOString(), csrf_token: session.csrfToken };
}
