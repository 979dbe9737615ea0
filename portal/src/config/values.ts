/** What a variable's text may be, and what it means. Every reader throws an `Error` that never quotes a secret. */

import { isIP } from "node:net";

/** An address and a port to listen on. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port` or `[v6]:port`. Port 0 takes a free one. */
export function listenAddress(text: string): ListenAddress {
  const match = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<host>[^\s:[\]/]+)):(?<port>\d{1,5})$/.exec(text);
  const host = match?.groups?.["v6"] ?? match?.groups?.["host"];
  const port = Number(match?.groups?.["port"]);
  if (host === undefined || port > 65_535) {
    throw new Error("must be an address with a port, such as 127.0.0.1:3000");
  }
  return { host, port };
}

/** Whether an address can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Makes a reader of durations such as `500ms`, `30s`, `10m` or `12h` that gives milliseconds, both bounds included. */
export function duration(least: string, most: string): (text: string) => number {
  const parse = (text: string): number => {
    const match = /^(\d{1,9})(ms|s|m|h)$/.exec(text);
    return Number(match?.[1]) * (UNITS[match?.[2] ?? ""] ?? Number.NaN);
  };
  const [low, high] = [parse(least), parse(most)];
  return (text) => {
    const milliseconds = parse(text);
    if (!(milliseconds >= low && milliseconds <= high)) {
      throw new Error(`must be a duration such as 30s, 10m or 12h, from ${least} to ${most}`);
    }
    return milliseconds;
  };
}

/** Makes a reader of whole numbers, both bounds included. */
export function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(number >= least && number <= most)) {
      throw new Error(`must be a whole number from ${String(least)} to ${String(most)}`);
    }
    return number;
  };
}

/** Reads `true` or `false`. */
export function flag(text: string): boolean {
  if (text !== "true" && text !== "false") {
    throw new Error("must be true or false");
  }
  return text === "true";
}

/** Makes a reader of one of some words. */
export function oneOf<const Word extends string>(words: readonly Word[]): (text: string) => Word {
  return (text) => {
    const found = words.find((word) => word === text);
    if (found === undefined) {
      throw new Error(`must be one of ${words.join(", ")}`);
    }
    return found;
  };
}

/** Reads the base address of an HTTP service, without credentials, query or fragment. */
export function serviceUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw new Error("must be an http:// or https:// address");
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new Error("must hold no user, password, query or fragment");
  }
  return text;
}

/** Reads the name of an account: 1 to 64 letters, digits and `._@-`. */
export function accountName(text: string): string {
  if (!/^[A-Za-z0-9._@-]{1,64}$/.test(text)) {
    throw new Error("must be 1 to 64 letters, digits, dots, underscores, hyphens or at signs");
  }
  return text;
}

/** Reads addresses and networks, separated by commas. */
export function addressList(text: string): readonly string[] {
  const entries = text.split(",").map((entry) => entry.trim());
  if (!entries.every(isNetwork)) {
    throw new Error("must be IP addresses or networks, separated by commas, such as 127.0.0.1,10.0.0.0/8");
  }
  return entries;
}

function isNetwork(text: string): boolean {
  const [address = "", prefix, ...rest] = text.split("/");
  const longest = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  const isPrefix = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= longest);
  return longest > 0 && isPrefix && rest.length === 0;
}

/** Reads the secret that every key of the portal is derived from: at least 32 characters. */
export function portalSecret(text: string): string {
  if (text.length < 32 || text.length > 4096) {
    throw new Error("must be 32 to 4096 characters, for example from: openssl rand -hex 32");
  }
  return text;
}

/** Reads a bearer token: printable characters without spaces. */
export function bearerToken(text: string): string {
  if (!/^[\x21-\x7e]{1,4096}$/.test(text)) {
    throw new Error("must be one line of printable characters without spaces");
  }
  return text;
}
