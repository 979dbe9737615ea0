import { setTimeout as sleep } from "node:timers/promises";

import type { FastifyInstance, FastifyReply } from "fastify";

import type { Sessions } from "../auth/sessions.js";
import type { Workshops, WorkshopView } from "../workshops/workshops.js";
import { ApiError } from "./errors.js";
import { answer, API_KEY_BYTES, errors, READING, workshopId, WRITING } from "./schemas.js";
import { callerOf, requireSession } from "./security.js";

/** What the routes of workshops need. */
export interface WorkshopRoutes {
  readonly workshops: Workshops;
  readonly sessions: Sessions;
  /** The name of the session cookie. */
  readonly cookie: string;
  /** How long a deletion is waited for, in milliseconds. */
  readonly deleteWait: number;
}

interface ById {
  Params: { readonly id: string };
}

interface NewWorkshop {
  readonly id: string;
  readonly seats: number;
  readonly api_key?: string;
}

interface StartRequest {
  readonly api_key?: string;
}

const params = { type: "object", required: ["id"], properties: { id: workshopId } } as const;
const tags = ["workshops"];

/** Making, starting, stopping, showing and deleting workshops. */
export async function workshopRoutes(app: FastifyInstance, routes: WorkshopRoutes): Promise<void> {
  const { workshops, deleteWait } = routes;
  requireSession(app, routes.sessions, routes.cookie);

  app.get(
    "/api/workshops",
    {
      schema: {
        operationId: "listWorkshops",
        tags,
        summary: "List workshops",
        security: READING,
        response: { 200: answer("Workshops", "All workshops by id"), ...errors(401) },
      },
    },
    async () => ({ workshops: (await workshops.list()).map(view) }),
  );

  app.post<{ Body: NewWorkshop }>(
    "/api/workshops",
    {
      schema: {
        operationId: "createWorkshop",
        tags,
        summary: "Create a workshop",
        description: "Nothing runs yet: start it. The api key is stored encrypted until the workshop is deleted.",
        body: { $ref: "NewWorkshop#" },
        response: { 201: answer("Workshop", "Created"), ...errors(...WRITING, 401, 403, 409) },
      },
    },
    async (request, reply) => {
      const { id, seats, api_key } = request.body;
      const made = await workshops.create(id, seats, checkedKey(api_key), callerOf(request).session.name);
      return reply.code(201).header("location", pathOf(made)).send(view(made));
    },
  );

  app.get<ById>(
    "/api/workshops/:id",
    {
      schema: {
        operationId: "showWorkshop",
        tags,
        summary: "Show a workshop",
        description: "Its state and, from the service, its seats as they are right now.",
        security: READING,
        params,
        response: { 200: answer("WorkshopWithSeats", "The workshop"), ...errors(400, 401, 404, 414) },
      },
    },
    async (request) => {
      const shown = await workshops.show(request.params.id);
      return { ...view(shown), instances: shown.instances };
    },
  );

  app.post<ById & { Body: StartRequest | null }>(
    "/api/workshops/:id/start",
    {
      schema: {
        operationId: "startWorkshop",
        tags,
        summary: "Start a workshop",
        description:
          "Brings all seats up; ask for Location until the state is no longer provisioning. While a start is under " +
          "way, another one changes nothing. For a workshop that runs it makes the seats that are missing. An api key " +
          "other than the one it runs with is refused: stop it first.",
        params,
        body: { $ref: "StartRequest#" },
        response: { 202: answer("Workshop", "Under way"), ...errors(...WRITING, 401, 403, 404, 409, 414) },
      },
    },
    async (request, reply) => {
      const apiKey = checkedKey(request.body?.api_key);
      return underWay(reply, await workshops.start(request.params.id, apiKey, callerOf(request).session.name));
    },
  );

  app.post<ById>(
    "/api/workshops/:id/stop",
    {
      schema: {
        operationId: "stopWorkshop",
        tags,
        summary: "Stop a workshop",
        description: "Removes all seats and keeps their data for the next start. A start that is under way ends.",
        params,
        response: { 202: answer("Workshop", "Under way"), ...errors(...WRITING, 401, 403, 404, 409, 414) },
      },
    },
    async (request, reply) => underWay(reply, await workshops.stop(request.params.id, callerOf(request).session.name)),
  );

  app.delete<ById>(
    "/api/workshops/:id",
    {
      schema: {
        operationId: "deleteWorkshop",
        tags,
        summary: "Delete a workshop",
        description:
          "Removes it with all seats and their data. Success also when it was not there. When it takes long, or " +
          "fails, the answer is 202 with the state; ask for Location until that is 404.",
        params,
        response: {
          204: { description: "It is gone", type: "null" },
          202: answer("Workshop", "Under way"),
          ...errors(...WRITING, 401, 403, 414),
        },
      },
    },
    async (request, reply) => {
      const patience = new AbortController();
      const waited = sleep(deleteWait, undefined, { signal: patience.signal }).catch(() => undefined);
      try {
        const left = await workshops.remove(request.params.id, callerOf(request).session.name, waited);
        return await (left === undefined ? reply.code(204).send() : underWay(reply, left));
      } finally {
        patience.abort();
      }
    },
  );
}

function underWay(reply: FastifyReply, workshop: WorkshopView): FastifyReply {
  return reply.code(202).header("location", pathOf(workshop)).header("retry-after", "1").send(view(workshop));
}

function pathOf(workshop: WorkshopView): string {
  return `/api/workshops/${workshop.facts.id}`;
}

/** What JSON Schema cannot say of a key: its length in bytes, and that it must arrive unchanged in UTF-8. */
function checkedKey(apiKey: string | undefined): string | undefined {
  if (apiKey === undefined) {
    return undefined;
  }
  const bytes = Buffer.from(apiKey, "utf8");
  if (bytes.length > API_KEY_BYTES) {
    throw new ApiError(400, "invalid_request", `api_key must have at most ${String(API_KEY_BYTES)} bytes`);
  }
  if (bytes.toString("utf8") !== apiKey) {
    throw new ApiError(400, "invalid_request", "api_key must be valid Unicode");
  }
  return apiKey;
}

function view({ facts, state, reason, counts, serviceError }: WorkshopView) {
  return {
    id: facts.id,
    seats: facts.seats,
    state,
    reason,
    has_api_key: facts.sealedKey !== null,
    created_at: facts.createdAt,
    created_by: facts.createdBy,
    changed_at: facts.changedAt,
    changed_by: facts.changedBy,
    service_error: serviceError,
    counts,
  };
}
