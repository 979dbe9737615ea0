import { describe, expect, it } from "vitest";

import { deriveKeys } from "../src/auth/keys.js";
import { CannotOpen, seal, unseal } from "../src/auth/seal.js";

const { seal: key } = deriveKeys("sk-canary-a-secret-of-thirty-two-characters");
const API_KEY = "sk-canary-'\"$HOME `id`\n\t\\ ünï";

describe("a sealed api key", () => {
  it("comes out as it went in", () => {
    expect(unseal(key, "rust-101", seal(key, "rust-101", API_KEY))).toBe(API_KEY);
  });

  it("never looks the same, and does not show what is in it", () => {
    const [one, two] = [seal(key, "rust-101", API_KEY), seal(key, "rust-101", API_KEY)];
    expect(one).not.toBe(two);
    expect(Buffer.from(one, "base64url").toString("latin1")).not.toContain("sk-canary-");
  });

  it.each([
    ["for another workshop", (sealed: string) => unseal(key, "rust-102", sealed)],
    ["with another secret", (sealed: string) => unseal(deriveKeys("x".repeat(32)).seal, "rust-101", sealed)],
    ["when it is cut off", (sealed: string) => unseal(key, "rust-101", sealed.slice(0, 20))],
    ["when it was changed", (sealed: string) => unseal(key, "rust-101", flipped(sealed, sealed.length - 3))],
    ["when its version is another", (sealed: string) => unseal(key, "rust-101", flipped(sealed, 0))],
    ["when there is nothing", () => unseal(key, "rust-101", "")],
  ])("cannot be opened %s", (_when, open) => {
    expect(() => open(seal(key, "rust-101", API_KEY))).toThrow(CannotOpen);
  });
});

function flipped(text: string, at: number): string {
  return text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
}

describe("derived keys", () => {
  it("differ by purpose", () => {
    const keys = Object.values(deriveKeys("x".repeat(32))).map((one: Buffer) => one.toString("hex"));
    expect(new Set(keys).size).toBe(4);
  });
});
