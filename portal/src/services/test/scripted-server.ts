/** An HTTP server that does, request by request, what a script says: also what no server should. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What was asked, as far as tests look at it. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export type Act = (response: ServerResponse, seen: Seen) => void | Promise<void>;

export interface ScriptedServer extends AsyncDisposable {
  readonly url: string;
  readonly seen: readonly Seen[];
}

/** Answers the nth request with the nth act, and every later one with the last. */
export async function scripted(...acts: readonly Act[]): Promise<ScriptedServer> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", () => undefined);
    request.on("end", () => {
      const one = {
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString("utf8"),
      };
      seen.push(one);
      void acts[Math.min(seen.length, acts.length) - 1]?.(response, one);
    });
  });
  await listening(server);
  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    seen,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listening(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve());
  });
}

/** A whole answer. */
export function answer(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Act {
  return (response) => {
    const type = status >= 400 ? "application/problem+json" : "application/json";
    response.writeHead(status, { "content-type": type, ...headers });
    response.end(status === 204 ? undefined : JSON.stringify(body));
  };
}

/** An error as the service writes it. */
export function problem(
  status: number,
  code: string,
  headers: Readonly<Record<string, string>> = {},
  more: Readonly<Record<string, unknown>> = {},
): Act {
  const detail = `about ${code}`;
  const body = { type: "about:blank", title: code, status, detail, code, request_id: "r-1", ...more };
  return answer(status, { ...body, error: { code, message: detail } }, headers);
}

/** What a proxy says that has lost its service. */
export function html(status: number): Act {
  return (response) => {
    response.writeHead(status, { "content-type": "text/html" });
    response.end("<html><body>Bad gateway</body></html>");
  };
}

/** The beginning of an answer, and then the end of the connection, or nothing more. */
export function half(type: string, text: string, stays = false): Act {
  return (response) => {
    response.writeHead(200, { "content-type": type, "content-length": String(text.length + 100) });
    response.write(text, () => {
      if (!stays) {
        response.socket?.destroy();
      }
    });
  };
}

/** The connection ends without a word. */
export const hangUp: Act = (response) => {
  response.socket?.destroy();
};

/** Nothing, for as long as the caller likes. */
export const silence: Act = () => undefined;

/** Events, as the service streams a class. */
export function events(...list: readonly (readonly [name: string, data: unknown])[]): Act {
  return (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": keep-alive\n\n");
    response.end(list.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join(""));
  };
}

/** A seat as the service writes it. */
export function seatBody(seat: number, status = "running") {
  return {
    id: `c${String(seat)}`,
    workshop: "rust-101",
    seat,
    ip: "10.0.0.2",
    status,
    endpoint: "http://10.0.0.2:3001",
    endpoints: { "3001": "http://10.0.0.2:3001" },
    ports: [3001],
    image: "clarateach-workspace",
    provider: "docker",
    created_at: "2026-01-01T00:00:00Z",
    expires_at: null,
    reason: null,
  };
}

/** The result of a seat of a class. */
export function resultBody(seat: number, outcome = "created", code: string | null = null) {
  const reason = code === null ? null : `why ${code}`;
  return { seat, outcome, instance: code === null ? seatBody(seat) : null, code, reason, took_ms: 1, timings: {} };
}

/** The result of a class. */
export function classBody(...seats: readonly ReturnType<typeof resultBody>[]) {
  return { workshop: "rust-101", converged: seats.every((seat) => seat.code === null), counts: {}, took_ms: 1, seats };
}
