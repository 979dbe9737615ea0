import type { Socket } from "node:net";
import type { Writable } from "node:stream";
import { randomUUID } from "node:crypto";

import Fastify, { LogController, type FastifyInstance } from "fastify";

import type { Config } from "../config.js";
import { frameworkError } from "./errors.js";

/** The largest body: an api key of 4096 bytes, each of which JSON may write with six characters, and some room. */
const BODY_LIMIT = 32 * 1024;

/** Makes the HTTP server, still without routes. `stream` takes the log instead of standard output. */
export function makeServer(config: Config, stream?: Writable): FastifyInstance {
  const app = Fastify({
    bodyLimit: BODY_LIMIT,
    // Node.js counts the longer of these two for the whole request, and looks for late ones only so often.
    requestTimeout: 15_000,
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 1000 },
    keepAliveTimeout: 30_000,
    forceCloseConnections: "idle",
    // Requests that are under way when the portal closes are answered as usual.
    return503OnClosing: false,
    trustProxy: config.trustedProxies.length === 0 ? false : [...config.trustedProxies],
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    frameworkErrors: frameworkError,
    clientErrorHandler: refuse,
    routerOptions: { maxParamLength: 128 },
    ajv: {
      customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allErrors: true },
    },
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "request_id" }),
    logger: {
      level: config.logLevel,
      ...(stream !== undefined && { stream }),
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (level: string) => ({ level }) },
      // Nothing that a caller sent is logged. Should a later line hold one of these all the same, it is not shown.
      redact: ["password", "api_key", "apiKey", "headers", "*.password", "*.api_key", "*.apiKey", "*.headers"],
      serializers: { err: describe, req: (request: { id: string }) => ({ id: request.id }) },
    },
  });
  app.server.maxConnections = 1024;
  app.decorateRequest("caller", null);
  // Forms and plain texts can be sent by any page without asking; only JSON is taken.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, app.getDefaultJsonParser("error", "error"));
  app.addHook("onResponse", async (request, reply) => {
    request.log.info(
      {
        method: request.method,
        route: request.routeOptions.url ?? "unmatched",
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        address: request.ip,
        ...(request.caller !== null && { by: request.caller.session.name }),
      },
      "answered",
    );
  });
  return app;
}

/** An error for the log: errors of libraries carry requests about, with all that is in them. */
function describe(error: Error): { type: string; message: string; stack: string; code?: string; cause?: string } {
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  const cause = error.cause instanceof Error ? { cause: `${error.cause.name}: ${error.cause.message}` } : {};
  return { type: error.name, message: error.message, stack: error.stack ?? "", ...code, ...cause };
}

const REFUSALS: Readonly<Record<string, readonly [status: string, code: string, message: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "request_timeout", "the request took too long to arrive"],
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "headers_too_large", "the headers are too large"],
};

/** Answers what is not HTTP, for which there is no request yet. */
function refuse(this: FastifyInstance, error: Error & { code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, code, message] = REFUSALS[error.code ?? ""] ?? [
    "400 Bad Request",
    "invalid_request",
    "this is not HTTP",
  ];
  const body = JSON.stringify({ error: { code, message } });
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${String(Buffer.byteLength(body))}\r\nconnection: close\r\n\r\n${body}`,
  );
}
