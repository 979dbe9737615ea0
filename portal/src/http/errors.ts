import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { GateFull } from "../gate.js";
import { StoreError, type StoreErrorCode } from "../store/errors.js";

/** An error that is told to the caller as it is: `{"error": {"code", "message"}}`. */
export class ApiError extends Error {
  readonly statusCode: number;
  readonly code: string;
  /** In how many seconds the caller may try again. */
  readonly retryAfter: number | undefined;

  constructor(statusCode: number, code: string, message: string, retryAfter?: number) {
    super(message);
    this.name = "ApiError";
    this.statusCode = statusCode;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** The body of every error. */
export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string };
}

const STORE_ERRORS: Readonly<Record<StoreErrorCode, { readonly status: number; readonly message: string }>> = {
  database_locked: { status: 503, message: "another process holds the portal's database; nothing was changed" },
  database_read_only: { status: 503, message: "the portal's database cannot be written; nothing was changed" },
  database_full: { status: 507, message: "the disk of the portal's database is full; nothing was changed" },
  database_failed: { status: 500, message: "the portal's database failed; nothing was changed" },
};

// The messages of these errors quote what was sent, which may be a secret. They are told in words of our own.
const FRAMEWORK_ERRORS: Readonly<Record<string, readonly [status: number, code: string, message: string]>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: [400, "invalid_json", "the body is not valid JSON"],
  FST_ERR_CTP_EMPTY_JSON_BODY: [400, "invalid_json", "the body is empty: send JSON, or no Content-Type"],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [400, "body_incomplete", "the body is not as long as Content-Length says"],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, "unsupported_media_type", "the body must be declared as application/json"],
  FST_ERR_CTP_BODY_TOO_LARGE: [413, "body_too_large", "the body is too large"],
  FST_ERR_BAD_URL: [400, "invalid_request", "the path is not valid"],
};

/** Answers everything that goes wrong in the one form of errors. */
export function installErrorHandlers(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = translate(error);
    if (known.statusCode >= 500) {
      request.log.error({ err: error, code: known.code }, "request failed");
    }
    return send(reply, known);
  });
  app.setNotFoundHandler((_request, reply) =>
    send(
      reply,
      new ApiError(404, "not_found", "there is no such path, or it has no such method: see /api/openapi.json"),
    ),
  );
}

/** For errors before there is a route. */
export function frameworkError(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  send(reply, translate(error));
}

/** What an error is to the caller. What is not known is not told. */
function translate(error: FastifyError): ApiError {
  if (error instanceof ApiError) {
    return error;
  }
  if (error instanceof StoreError) {
    const { status, message } = STORE_ERRORS[error.code];
    return new ApiError(status, error.code, message, status === 503 ? 1 : undefined);
  }
  if (error instanceof GateFull) {
    return new ApiError(503, "busy", "too many are signing in at this moment: try again", 1);
  }
  if (error.validation !== undefined) {
    const part = error.validationContext ?? "request";
    const problems = error.validation.map(({ instancePath, message, params }) => {
      const field = instancePath.slice(1).replaceAll("/", ".");
      const unknown = params["additionalProperty"];
      const what = typeof unknown === "string" ? `must not have the field '${unknown.slice(0, 40)}'` : message;
      return `${field === "" ? part : field} ${what ?? "is wrong"}`;
    });
    return new ApiError(400, "invalid_request", problems.join("; "));
  }
  const known = FRAMEWORK_ERRORS[error.code];
  if (known !== undefined) {
    return new ApiError(...known);
  }
  if (error.statusCode === 414) {
    return new ApiError(414, "path_too_long", "the path is too long");
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new ApiError(error.statusCode, "invalid_request", "the request is not valid");
  }
  return new ApiError(500, "internal", "the portal failed; its log says why, under the x-request-id of this answer");
}

function send(reply: FastifyReply, error: ApiError): FastifyReply {
  if (error.retryAfter !== undefined) {
    reply.header("retry-after", String(error.retryAfter));
  }
  const body: ErrorBody = { error: { code: error.code, message: error.message } };
  return reply.code(error.statusCode).send(body);
}
