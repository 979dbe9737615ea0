import type { FastifyInstance } from "fastify";

import { answer, errors } from "./schemas.js";

/** Where the portal says that it is up. */
export const HEALTH_PATH = "/api/health";

/** What anybody may ask. `check` rejects when the portal cannot work. */
export function systemRoutes(app: FastifyInstance, check: () => Promise<void>): void {
  app.get(
    HEALTH_PATH,
    {
      schema: {
        operationId: "health",
        tags: ["system"],
        summary: "Health",
        description: "The portal is up and its database can be read. Says nothing about the service.",
        security: [],
        response: { 200: answer("Health", "The portal is up"), ...errors() },
      },
    },
    async () => {
      await check();
      return { status: "ok" };
    },
  );

  app.get(
    "/api/openapi.json",
    {
      schema: {
        operationId: "openapi",
        tags: ["system"],
        summary: "OpenAPI document",
        description: "This document.",
        security: [],
        response: { 200: { description: "The document", type: "object", additionalProperties: true }, ...errors() },
      },
    },
    async () => app.swagger(),
  );
}
