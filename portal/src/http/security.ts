import type { FastifyInstance, FastifyRequest } from "fastify";

import { isCsrfToken, type Session, type Sessions } from "../auth/sessions.js";
import { ApiError } from "./errors.js";

declare module "fastify" {
  interface FastifyRequest {
    /** Who is signed in, on routes that need it. */
    caller: Caller | null;
  }
}

/** Somebody who is signed in, and the cookie that says so. */
export interface Caller {
  readonly token: string;
  readonly session: Session;
}

/** The header that brings the CSRF token. */
export const CSRF_HEADER = "x-csrf-token";

const READING = new Set(["GET", "HEAD", "OPTIONS"]);

const HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  // For answers of the API, none of which is a page.
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** The names of the cookies. Browsers hold those with the prefix to HTTPS, this host and the whole of it. */
export function cookieName(secure: boolean, what: "session" | "device" = "session"): string {
  return `${secure ? "__Host-" : ""}portal_${what}`;
}

/** Puts the protective headers on every answer, and refuses what pages of other sites send. */
export function installProtection(app: FastifyInstance, secure: boolean): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.headers(HEADERS);
    reply.header("x-request-id", request.id);
    if (secure) {
      reply.header("strict-transport-security", "max-age=31536000");
    }
    // Browsers always send it and no page can change it. It protects the sign-in, which has no CSRF token yet.
    const site = request.headers["sec-fetch-site"];
    if (!READING.has(request.method) && (site === "cross-site" || site === "same-site")) {
      throw new ApiError(403, "cross_site", "the request comes from a page of another site");
    }
  });
}

/** The session cookie's token; nothing when there is none or its signature is wrong. */
export function tokenOf(request: FastifyRequest, cookie: string): string | undefined {
  const signed = request.cookies[cookie];
  const { valid, value } = signed === undefined ? { valid: false, value: null } : request.unsignCookie(signed);
  return valid && value !== null ? value : undefined;
}

/** Makes every route of `app` need a session, and those that change something its CSRF token too. */
export function requireSession(app: FastifyInstance, sessions: Sessions, cookie: string): void {
  app.addHook("onRequest", async (request) => {
    const token = tokenOf(request, cookie);
    const session = token === undefined ? undefined : await sessions.find(token);
    if (token === undefined || session === undefined) {
      throw new ApiError(401, "not_signed_in", "sign in first: POST /api/session");
    }
    if (!READING.has(request.method) && !isCsrfToken(session, request.headers[CSRF_HEADER])) {
      throw new ApiError(403, "csrf_token_invalid", `send the csrf_token of GET /api/session as ${CSRF_HEADER}`);
    }
    request.caller = { token, session };
  });
}

/** Who asks, on a route that needs a session. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === null) {
    throw new Error("this route was registered without requireSession");
  }
  return request.caller;
}
