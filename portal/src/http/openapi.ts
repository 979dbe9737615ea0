import swagger from "@fastify/swagger";
import type { FastifyInstance } from "fastify";

import { cookieName, CSRF_HEADER } from "./security.js";

const DESCRIPTION =
  "Workshops for instructors. Sign in at /api/session; the cookie that it sets comes with every further request, and " +
  `what changes something also brings the session's csrf_token as ${CSRF_HEADER}. Every error is ` +
  '`{"error": {"code", "message"}}` with a stable code. Every answer carries x-request-id, which is also in the log.';

/** Collects the routes that are registered afterwards for the OpenAPI document. */
export async function installOpenApi(app: FastifyInstance, secureCookies: boolean): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "ClaraTeach Portal",
        description: DESCRIPTION,
        version: "1.0.0",
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      tags: [{ name: "session" }, { name: "workshops" }, { name: "system" }],
      components: {
        securitySchemes: {
          session: { type: "apiKey", in: "cookie", name: cookieName(secureCookies) },
          csrf: { type: "apiKey", in: "header", name: CSRF_HEADER },
        },
      },
      security: [{ session: [], csrf: [] }],
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json["$id"] === "string" ? json["$id"] : `Schema${String(index)}`,
    },
  });
}
