import { describe, expect, it } from "vitest";

import { KNOWN_FOR, KnownDevices } from "../src/auth/devices.js";
import { deriveKeys } from "../src/auth/keys.js";
import { hashPassword, parsePasswordHash, type PasswordHash } from "../src/auth/password.js";

const { device: KEY } = deriveKeys("sk-canary-secret-of-the-portal-in-tests");

async function hash(): Promise<PasswordHash> {
  return parsePasswordHash(await hashPassword("sk-canary-password", { logN: 14, r: 8, p: 1 }));
}

describe("the cookie of a known browser", async () => {
  const accounts = new Map([
    ["ada", await hash()],
    ["grace", await hash()],
  ]);
  let now = 1_000_000_000_000;
  const devices = new KnownDevices(accounts, KEY, () => now);

  it("names the same device each time, and another one for another browser", () => {
    const first = devices.cookie("ada");
    const device = devices.find("ada", first);
    expect(device).toMatch(/^[\w-]{22}$/);
    expect(devices.find("ada", devices.cookie("ada", device))).toBe(device);
    expect(devices.find("ada", devices.cookie("ada"))).not.toBe(device);
  });

  it("is of one account only", () => {
    expect(devices.find("grace", devices.cookie("ada"))).toBeUndefined();
    expect(devices.find("nobody", devices.cookie("nobody"))).toBeUndefined();
  });

  it("is worth nothing when it is forged", () => {
    const genuine = devices.cookie("ada");
    const [device = "", since = "", signature = ""] = genuine.split(".");
    for (const forged of [
      undefined,
      "",
      device,
      `${device}.${since}`,
      `${device}.${since}.${"A".repeat(43)}`,
      `${"A".repeat(22)}.${since}.${signature}`,
      `${device}.${String(Number(since) + 1)}.${signature}`,
      `${genuine}A`,
      `${genuine} `,
    ]) {
      expect(devices.find("ada", forged), forged).toBeUndefined();
    }
  });

  it("is worth nothing after half a year, another secret or another password", async () => {
    const cookie = devices.cookie("ada");
    now += KNOWN_FOR - 1000;
    expect(devices.find("ada", cookie)).toBeDefined();
    now += 1000;
    expect(devices.find("ada", cookie)).toBeUndefined();

    const fresh = devices.cookie("ada");
    const { device: otherKey } = deriveKeys("sk-canary-another-secret-of-the-portal");
    expect(new KnownDevices(accounts, otherKey, () => now).find("ada", fresh)).toBeUndefined();
    const changed = new Map([["ada", await hash()]]);
    expect(new KnownDevices(changed, KEY, () => now).find("ada", fresh)).toBeUndefined();
  });
});
