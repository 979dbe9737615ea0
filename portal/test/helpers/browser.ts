import { expect } from "vitest";

import { until } from "./until.js";

/** An answer, read to the end. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** The JSON of the body; `undefined` without one. */
  readonly body: Body | undefined;
  readonly text: string;
}

/** What tests look at in bodies. */
export interface Body {
  readonly error?: { readonly code: string; readonly message: string };
  readonly name?: string;
  readonly csrf_token?: string;
  readonly expires_at?: string;
  readonly id?: string;
  readonly seats?: number;
  readonly state?: string;
  readonly reason?: { readonly code: string; readonly message: string } | null;
  readonly has_api_key?: boolean;
  readonly service_error?: { readonly code: string } | null;
  readonly counts?: { readonly running: number } | null;
  readonly instances?: { readonly seat: number; readonly status: string; readonly endpoint: string }[] | null;
  readonly workshops?: Body[];
  readonly changed_by?: string;
}

/** Everything that any portal of this process answered: no secret may be in it. */
export const answered: string[] = [];

/** One instructor's browser: it keeps the cookies, and sends the CSRF token along. */
export class Browser {
  cookie: string | undefined;
  /** The cookie by which the browser is known at its next sign-in. */
  device: string | undefined;
  csrf: string | undefined;
  readonly #url: () => string;

  /** `url` is asked for each time: a portal that restarts may be elsewhere. */
  constructor(url: string | (() => string)) {
    this.#url = typeof url === "string" ? () => url : url;
  }

  async send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const cookies = [this.cookie, this.device].filter((cookie) => cookie !== undefined);
    const response = await fetch(`${this.#url()}${path}`, {
      method,
      headers: {
        ...(cookies.length > 0 && { cookie: cookies.join("; ") }),
        ...(this.csrf !== undefined && { "x-csrf-token": this.csrf }),
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    answered.push(text, JSON.stringify([...response.headers]));
    return { status: response.status, headers: response.headers, text, body: parsed(text) };
  }

  get(path: string): Promise<Answer> {
    return this.send("GET", path);
  }

  post(path: string, body?: unknown): Promise<Answer> {
    return this.send("POST", path, body);
  }

  delete(path: string): Promise<Answer> {
    return this.send("DELETE", path);
  }

  async signIn(name: string, password: string): Promise<this> {
    const answer = await this.post("/api/session", { name, password });
    expect(answer.status, answer.text).toBe(201);
    [this.cookie, this.device] = answer.headers.getSetCookie().map((cookie) => cookie.split(";")[0]);
    this.csrf = answer.body?.csrf_token;
    return this;
  }

  /** Waits until a workshop is in this state, and gives its answer. */
  async state(id: string, state: string): Promise<Body> {
    let last = "nothing";
    try {
      return await until(`${id} ${state}`, async () => {
        const answer = await this.get(`/api/workshops/${id}`);
        last = answer.text;
        return answer.body?.state === state ? answer.body : undefined;
      });
    } catch (error) {
      throw new Error(`${id} did not become ${state}: ${last}`, { cause: error });
    }
  }
}

function parsed(text: string): Body | undefined {
  return text === "" ? undefined : (JSON.parse(text) as Body);
}
