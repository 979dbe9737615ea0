import { describe, expect, it } from "vitest";

import { hashPassword, parsePasswordHash, verifyPassword } from "../src/auth/password.js";

const CHEAP = { logN: 14, r: 8, p: 1 };
const PASSWORD = "sk-canary-password";

describe("a password", () => {
  it("is right or wrong", async () => {
    const hash = parsePasswordHash(await hashPassword(PASSWORD, CHEAP));
    expect(await verifyPassword(PASSWORD, hash)).toBe(true);
    expect(await verifyPassword(`${PASSWORD} `, hash)).toBe(false);
    expect(await verifyPassword("", hash)).toBe(false);
  });

  it("has another hash each time, and is not in it", async () => {
    const [one, two] = [await hashPassword(PASSWORD, CHEAP), await hashPassword(PASSWORD, CHEAP)];
    expect(one).not.toBe(two);
    expect(one).toMatch(/^scrypt:14:8:1:[\w-]{22}:[\w-]{43}$/);
    expect(one).not.toContain(Buffer.from(PASSWORD).toString("base64url"));
  });

  it("is the same however its characters were typed", async () => {
    const hash = parsePasswordHash(await hashPassword("café-sk-canary", CHEAP));
    expect(await verifyPassword("cafe\u0301-sk-canary", hash)).toBe(true);
  });

  it("is hashed by default with a cost that can be parsed", async () => {
    const hash = parsePasswordHash(await hashPassword(PASSWORD));
    expect([hash.logN, hash.r, hash.p]).toEqual([15, 8, 3]);
  });
});

describe("a hash", () => {
  const salt = "A".repeat(22);
  const key = "A".repeat(43);
  it.each([
    ["nothing", ""],
    ["a password", "sk-canary-plain"],
    ["another scheme", `$2b$12$${"A".repeat(53)}`],
    ["too cheap", `scrypt:10:8:1:${salt}:${key}`],
    ["too much memory", `scrypt:20:32:1:${salt}:${key}`],
    ["too many rounds", `scrypt:14:8:17:${salt}:${key}`],
    ["no rounds", `scrypt:14:8:0:${salt}:${key}`],
    ["a short key", `scrypt:14:8:1:${salt}:AAAA`],
    ["a short salt", `scrypt:14:8:1:AAAA:${key}`],
    ["more at the end", `scrypt:14:8:1:${salt}:${key}:x`],
  ])("of %s is refused without being quoted", (_what, text) => {
    const parse = (): unknown => parsePasswordHash(text);
    expect(parse).toThrow(/password hash/);
    if (text !== "") {
      expect(parse).not.toThrow(text);
    }
  });
});
