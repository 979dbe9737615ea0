import { readFileSync } from "node:fs";
import { connect } from "node:net";

import { describe, expect, it } from "vitest";

import { openApiDocument } from "../src/openapi-document.js";
import { Browser } from "./helpers/browser.js";
import { withPortal } from "./helpers/portal.js";

const KEY = "sk-canary-api-key";

/** Sends bytes as they are, and gives what comes back until the end. */
function raw(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => (answer += chunk));
    socket.on("error", reject);
    socket.on("close", () => resolve(answer));
  });
}

describe("bad input", () => {
  it("of a new workshop is refused with what is wrong, and changes nothing", async () => {
    await withPortal(async ({ browser }) => {
      const ada = await browser();
      for (const [body, message] of [
        [{ id: "abc", seats: 0 }, "seats must be >= 1"],
        [{ id: "abc", seats: -1 }, "seats must be >= 1"],
        [{ id: "abc", seats: 101 }, "seats must be <= 100"],
        [{ id: "abc", seats: 1.5 }, "seats must be integer"],
        [{ id: "abc", seats: "3" }, "seats must be integer"],
        [{ id: "abc", seats: null }, "seats must be integer"],
        [{ id: "abc" }, "body must have required property 'seats'"],
        [{ seats: 3 }, "body must have required property 'id'"],
        [{ id: "ab", seats: 3 }, "id must match pattern"],
        [{ id: "a".repeat(21), seats: 3 }, "id must match pattern"],
        [{ id: "Rust", seats: 3 }, "id must match pattern"],
        [{ id: "../abc", seats: 3 }, "id must match pattern"],
        [{ id: "abc\n", seats: 3 }, "id must match pattern"],
        [{ id: 7, seats: 3 }, "id must be string"],
        [{ id: "abc", seats: 3, image: "x" }, "body must not have the field 'image'"],
        [{ id: "abc", seats: 3, api_key: "" }, "api_key must NOT have fewer than 1 characters"],
        [{ id: "abc", seats: 3, api_key: null }, "api_key must be string"],
        [{ id: "abc", seats: 3, api_key: `${KEY}\0` }, "api_key must match pattern"],
        [{ id: "abc", seats: 3, api_key: "k".repeat(4097) }, "api_key must NOT have more than 4096 characters"],
        [{ id: "abc", seats: 3, api_key: "ü".repeat(2049) }, "api_key must have at most 4096 bytes"],
        ['{"id":"abc","seats":3,"api_key":"\\ud800"}', "api_key must be valid Unicode"],
        [[], "body must be object"],
        ["null", "body must be object"],
      ] as const) {
        const answer = await ada.post("/api/workshops", body);
        expect([answer.status, answer.body?.error?.code], message).toEqual([400, "invalid_request"]);
        expect(answer.body?.error?.message).toContain(message);
      }
      const both = await ada.post("/api/workshops", { id: "A", seats: 0 });
      expect(both.body?.error?.message).toMatch(/id must match pattern.*; seats must be >= 1/);
      expect((await ada.get("/api/workshops")).body?.workshops).toEqual([]);
    });
  });

  it("that is no JSON is refused without being quoted", async () => {
    await withPortal(async ({ browser, log }) => {
      const ada = await browser();
      for (const body of [`{"api_key":"${KEY}`, KEY, `{"__proto__":{"x":"${KEY}"}}`, `{"a":"${KEY}",}`]) {
        const answer = await ada.post("/api/workshops", body);
        expect([answer.status, answer.body?.error?.code]).toEqual([400, "invalid_json"]);
        expect(answer.text).not.toContain(KEY);
      }
      const headers = { "content-type": "application/json" };
      expect((await ada.send("POST", "/api/workshops", "", headers)).body?.error?.code).toBe("invalid_json");
      expect(log()).not.toContain(KEY);
    });
  });

  it("of another type, or too large, is refused", async () => {
    await withPortal(async ({ browser }) => {
      const ada = await browser();
      for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
        const answer = await ada.send("POST", "/api/workshops", "id=abc", { "content-type": type });
        expect([answer.status, answer.body?.error?.code]).toEqual([415, "unsupported_media_type"]);
      }
      const large = await ada.post("/api/workshops", { id: "abc", seats: 1, api_key: "k".repeat(40_000) });
      expect([large.status, large.body?.error?.code]).toEqual([413, "body_too_large"]);
      expect((await ada.post("/api/workshops", { id: "abc", seats: 1, api_key: "\u0001".repeat(4096) })).status).toBe(
        201,
      );
    });
  });

  it("in the path is refused or not found", async () => {
    await withPortal(async ({ browser }) => {
      const ada = await browser();
      for (const [method, path, status, code] of [
        ["GET", "/api/workshops/NOPE", 400, "invalid_request"],
        ["DELETE", "/api/workshops/..%2Fabc", 400, "invalid_request"],
        ["GET", "/api/workshops/%zz", 400, "invalid_request"],
        ["GET", "/api/workshops/abc", 404, "workshop_not_found"],
        ["POST", "/api/workshops/abc/start", 404, "workshop_not_found"],
        ["POST", "/api/workshops/abc/stop", 404, "workshop_not_found"],
        ["DELETE", "/api/workshops/abc", 204, undefined],
        ["GET", "/", 404, "not_found"],
        ["GET", "/api/nothing", 404, "not_found"],
        ["PUT", "/api/workshops", 404, "not_found"],
        ["PATCH", "/api/workshops/abc", 404, "not_found"],
        ["GET", `/api/workshops/${"a".repeat(5000)}`, 414, "path_too_long"],
      ] as const) {
        const answer = await ada.send(method, path);
        expect([answer.status, answer.body?.error?.code], path.slice(0, 40)).toEqual([status, code]);
      }
    });
  });

  it("that does not arrive as a whole is not waited for", async () => {
    await withPortal(async ({ url }) => {
      const head =
        "POST /api/session HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
      expect(await raw(url, `${head}{"name":`)).toMatch(/^HTTP\/1.1 408 [^]*\{"error":\{"code":"request_timeout"/);
    });
  });

  it("that is no HTTP is answered in the same form", async () => {
    await withPortal(async ({ url }) => {
      expect(await raw(url, "how do you do\r\n\r\n")).toMatch(
        /^HTTP\/1.1 400 [^]*\{"error":\{"code":"invalid_request"/,
      );
      const large = `GET /api/health HTTP/1.1\r\nhost: x\r\nx-large: ${"x".repeat(20_000)}\r\n\r\n`;
      expect(await raw(url, large)).toMatch(/^HTTP\/1.1 431 [^]*\{"error":\{"code":"headers_too_large"/);
    });
  });
});

describe("a new workshop", () => {
  it("is there, and has run nothing", async () => {
    await withPortal(async ({ browser }) => {
      const ada = await browser("ada");
      const made = await ada.post("/api/workshops", { id: "rust-101", seats: 100, api_key: KEY });
      expect([made.status, made.headers.get("location")]).toEqual([201, "/api/workshops/rust-101"]);
      expect(made.body).toMatchObject({
        id: "rust-101",
        seats: 100,
        state: "created",
        has_api_key: true,
        created_by: "ada",
      });
      const again = await (await browser("grace")).post("/api/workshops", { id: "rust-101", seats: 1 });
      expect([again.status, again.body?.error?.code]).toEqual([409, "workshop_exists"]);
      expect((await ada.get("/api/workshops/rust-101")).body).toMatchObject({
        seats: 100,
        counts: null,
        instances: null,
        service_error: { code: "unreachable" },
      });
    });
  });

  it("can have as many seats as configured", async () => {
    await withPortal(
      async ({ browser }) => {
        const ada = await browser();
        expect((await ada.post("/api/workshops", { id: "abc", seats: 4 })).status).toBe(400);
        expect((await ada.post("/api/workshops", { id: "abc", seats: 3 })).status).toBe(201);
      },
      { PORTAL_MAX_SEATS: "3" },
    );
  });
});

describe("every answer", () => {
  it("has the protective headers and a request id that is in the log", async () => {
    await withPortal(async ({ url, log }) => {
      const nobody = new Browser(url);
      for (const path of ["/api/health", "/api/session", "/api/openapi.json", "/nothing"]) {
        const { headers } = await nobody.get(path);
        expect(headers.get("x-content-type-options"), path).toBe("nosniff");
        expect(headers.get("cache-control"), path).toBe("no-store");
        expect(headers.get("content-security-policy"), path).toBe("default-src 'none'; frame-ancestors 'none'");
        expect(headers.get("x-frame-options"), path).toBe("DENY");
        expect(log()).toContain(headers.get("x-request-id") ?? "no id");
      }
    });
  });

  it("needs a session, except for signing in, health and the document", async () => {
    await withPortal(async ({ url, portal }) => {
      const nobody = new Browser(url);
      const paths = Object.entries(portal.app.swagger().paths ?? {});
      expect(paths.length).toBeGreaterThan(6);
      for (const [path, methods] of paths) {
        for (const method of Object.keys(methods as object)) {
          const open = ["get /api/health", "get /api/openapi.json", "post /api/session"].includes(`${method} ${path}`);
          const answer = await nobody.send(method.toUpperCase(), path.replace("{id}", "abc"));
          expect(answer.status === 401, `${method} ${path}`).toBe(!open);
        }
      }
      expect((await nobody.get("/api/health")).text).toBe('{"status":"ok"}');
    });
  });

  it("is counted per address", async () => {
    await withPortal(
      async ({ url }) => {
        const nobody = new Browser(url);
        const statuses = [];
        for (let count = 0; count < 12; count += 1) {
          statuses.push((await nobody.get(count % 2 === 0 ? "/api/session" : "/nothing")).status);
        }
        expect(new Set(statuses.slice(0, 10))).toEqual(new Set([401, 404]));
        const last = await nobody.get("/api/session");
        expect([last.status, last.body?.error?.code]).toEqual([429, "too_many_requests"]);
        expect(Number(last.headers.get("retry-after"))).toBeGreaterThan(0);
        expect((await nobody.get("/api/health")).status).toBe(200);
      },
      { PORTAL_REQUESTS_PER_MINUTE: "10" },
    );
  });
});

describe("the OpenAPI document", () => {
  it("is the one that is checked in (npm run openapi writes it)", async () => {
    const checkedIn = readFileSync(new URL("../openapi.json", import.meta.url), "utf8");
    expect(await openApiDocument()).toBe(checkedIn);
  });

  it("has what any request can meet, and for those that write a full disk", async () => {
    const { paths } = JSON.parse(await openApiDocument()) as {
      paths: Record<string, Record<string, { responses: object }>>;
    };
    const operations = Object.values(paths).flatMap((methods) => Object.entries(methods));
    expect(operations.length).toBeGreaterThan(8);
    for (const [method, { responses }] of operations) {
      expect(Object.keys(responses)).toEqual(expect.arrayContaining(["408", "429", "431", "500", "503"]));
      expect("507" in responses).toBe(method !== "get");
    }
  });

  it("is served", async () => {
    await withPortal(async ({ url, portal }) => {
      expect(JSON.parse((await new Browser(url).get("/api/openapi.json")).text)).toEqual(
        JSON.parse(JSON.stringify(portal.app.swagger())),
      );
    });
  });
});
