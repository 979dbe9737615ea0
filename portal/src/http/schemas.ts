/** The shapes of requests and answers, as JSON Schema: what is checked, and what the OpenAPI document says. */

import { STATES } from "../workshops/state.js";

const text = { type: "string" } as const;
const nullableText = { type: ["string", "null"] } as const;
const time = { type: "string", format: "date-time" } as const;
const count = { type: "integer", minimum: 0 } as const;

/** An object with exactly these members, all of them required. */
function whole<Properties extends object>(description: string, properties: Properties) {
  return { type: "object", description, required: Object.keys(properties), additionalProperties: false, properties };
}

/** The id of a workshop. */
export const workshopId = {
  type: "string",
  description: "The id of a workshop",
  pattern: "^[a-z0-9-]{3,20}$",
  examples: ["rust-101"],
} as const;

/** The most bytes of an api key. */
export const API_KEY_BYTES = 4096;

const apiKey = {
  type: "string",
  description: `What the seats get as ANTHROPIC_API_KEY, at most ${String(API_KEY_BYTES)} bytes. It never comes out again`,
  minLength: 1,
  maxLength: API_KEY_BYTES,
  pattern: "^[^\\u0000]*$",
  writeOnly: true,
} as const;

/** The body of a sign-in. */
export const credentials = {
  $id: "Credentials",
  type: "object",
  required: ["name", "password"],
  additionalProperties: false,
  properties: {
    name: { type: "string", minLength: 1, maxLength: 64 },
    password: { type: "string", minLength: 1, maxLength: 1024, writeOnly: true },
  },
} as const;

/** The body that makes a workshop. `maxSeats` is the most seats. */
export function newWorkshop(maxSeats: number) {
  return {
    $id: "NewWorkshop",
    type: "object",
    required: ["id", "seats"],
    additionalProperties: false,
    properties: {
      id: workshopId,
      seats: { type: "integer", description: "So many seats, from number 1", minimum: 1, maximum: maxSeats },
      api_key: apiKey,
    },
  } as const;
}

/** The body of a start; it may be left out. */
export const startRequest = {
  $id: "StartRequest",
  type: ["object", "null"],
  additionalProperties: false,
  properties: { api_key: { ...apiKey, description: `Replaces the stored api key. ${apiKey.description}` } },
} as const;

const session = {
  $id: "Session",
  ...whole("Who is signed in", {
    name: { ...text, description: "The account" },
    expires_at: { ...time, description: "When the session ends by itself" },
    csrf_token: { ...text, description: "What requests that change something send as x-csrf-token" },
  }),
};

const reason = whole("Why something is not as wished", {
  code: { ...text, description: "A stable word for programs" },
  message: { ...text, description: "What happened and what can be done, for a person" },
});

const nullable = <Schema extends object>(description: string, schema: Schema) => ({
  description,
  anyOf: [schema, { type: "null" }],
});

const workshopMembers = {
  id: workshopId,
  seats: { ...count, description: "How many seats it is to have" },
  state: { type: "string", enum: [...STATES], description: "How far it is" },
  reason: nullable("Why it is in error, or what goes on being tried", { $ref: "Reason#" }),
  has_api_key: { type: "boolean", description: "Whether an api key is stored for it" },
  created_at: time,
  created_by: { ...text, description: "The account that made it" },
  changed_at: { ...time, description: "When something was asked for last" },
  changed_by: { ...text, description: "The account that did" },
  service_error: nullable("Why the service could not be asked how the seats are, if so", { $ref: "Reason#" }),
  counts: nullable("How many seats are how far; null when the service could not be asked", { $ref: "Counts#" }),
};

const workshop = { $id: "Workshop", ...whole("A workshop", workshopMembers) };

const workshopWithSeats = {
  $id: "WorkshopWithSeats",
  ...whole("A workshop and what runs for it", {
    ...workshopMembers,
    instances: nullable("Its seats as the service has them right now; null when it could not be asked", {
      type: "array",
      items: { $ref: "Instance#" },
    }),
  }),
};

const instance = {
  $id: "Instance",
  ...whole("What runs for a seat, in the words of the service", {
    id: nullableText,
    workshop: text,
    seat: count,
    ip: nullableText,
    status: { type: "string", enum: ["starting", "running", "stopped", "error"] },
    endpoint: nullableText,
    endpoints: { type: "object", additionalProperties: text },
    ports: { type: "array", items: count },
    image: text,
    provider: text,
    created_at: nullableText,
    expires_at: nullableText,
    reason: nullableText,
  }),
};

/** Schemas that others refer to. `maxSeats` is the most seats of a workshop. */
export function sharedSchemas(maxSeats: number): readonly object[] {
  return [
    credentials,
    newWorkshop(maxSeats),
    startRequest,
    session,
    { $id: "Reason", ...reason },
    { $id: "Counts", ...whole("Seats by status", { running: count, starting: count, stopped: count, error: count }) },
    workshop,
    workshopWithSeats,
    instance,
    { $id: "Workshops", ...whole("All workshops", { workshops: { type: "array", items: { $ref: "Workshop#" } } }) },
    { $id: "Health", ...whole("The portal is up", { status: { type: "string", enum: ["ok"] } }) },
    { $id: "Error", ...whole("Every error", { error: { $ref: "Reason#" } }) },
  ];
}

/** The answer of a route with a body of this schema, and a description. */
export function answer(schema: string, description: string) {
  return { description, $ref: `${schema}#` };
}

const ERRORS: Readonly<Record<number, string>> = {
  400: "The request is wrong",
  401: "Nobody is signed in, or name and password are wrong",
  403: "The CSRF token is missing or wrong, or a page of another site asks",
  404: "There is no such workshop",
  408: "The request did not arrive in time",
  409: "It contradicts what is there or under way",
  413: "The body is too large",
  414: "The path is too long",
  415: "The body is not declared as application/json",
  429: "Too many requests or sign-ins; Retry-After says when to try again",
  431: "The headers are too large",
  500: "The portal failed",
  503: "The portal's database cannot be used right now",
  507: "The disk of the portal's database is full",
};

/** What a route needs that only reads. */
export const READING = [{ session: [] }];

/** The statuses, beside its own, of a route that writes: it may have a body, and may find the disk full. */
export const WRITING = [400, 413, 415, 507] as const;

/** The error answers of a route: those that any can give, and these. */
export function errors(...statuses: readonly number[]) {
  return Object.fromEntries(
    [...statuses, 408, 429, 431, 500, 503].map((status) => [status, answer("Error", ERRORS[status] ?? "An error")]),
  );
}
