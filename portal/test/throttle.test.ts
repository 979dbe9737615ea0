import { beforeEach, describe, expect, it } from "vitest";

import { SignInThrottle, type Attempt } from "../src/auth/throttle.js";

const MINUTE = 60_000;

let now: number;
let throttle: SignInThrottle;

beforeEach(() => {
  now = 1_000_000;
  throttle = new SignInThrottle(() => now);
});

function fail(address: string, account: string, times: number): void {
  for (let count = 0; count < times; count += 1) {
    expect(throttle.begin(address, account)).toBeTypeOf("object");
  }
}

/** Fails as soon as it is allowed to, and gives the pauses before. */
function pauses(address: string, account: string, times: number): number[] {
  return Array.from({ length: times }, () => {
    const answer = throttle.begin(address, account);
    if (typeof answer !== "number") {
      return 0;
    }
    now += answer;
    expect(throttle.begin(address, account)).toBeTypeOf("object");
    return answer;
  });
}

describe("failed sign-ins", () => {
  it("from one address are free five times, then wait twice as long each time, up to a minute", () => {
    fail("192.0.2.1", "ada", 5);
    // Other accounts each time: it is the address that counts here.
    const waited = Array.from({ length: 9 }, (_, index) => pauses("192.0.2.1", `nobody-${String(index)}`, 1)[0]);
    expect(waited).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  });

  it("for one account from everywhere wait too, but never longer than ten seconds", () => {
    for (let count = 0; count < 21; count += 1) {
      fail(`192.0.2.${String(count)}`, "ada", 1);
    }
    const waited = Array.from({ length: 6 }, (_, index) => pauses(`198.51.100.${String(index)}`, "ada", 1)[0]);
    expect(waited).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000]);
  });

  it("do not slow down other addresses and accounts", () => {
    fail("192.0.2.1", "ada", 6);
    expect(throttle.begin("192.0.2.1", "ada")).toBeTypeOf("number");
    expect(throttle.begin("192.0.2.2", "ada")).toBeTypeOf("object");
    expect(throttle.begin("192.0.2.2", "grace")).toBeTypeOf("object");
  });

  it("that come too early do not make the pause longer", () => {
    fail("192.0.2.1", "ada", 6);
    for (let count = 0; count < 1000; count += 1) {
      expect(throttle.begin("192.0.2.1", "ada")).toBe(1000);
    }
    now += 1000;
    expect(throttle.begin("192.0.2.1", "ada")).toBeTypeOf("object");
  });

  it("are counted before they are checked, so that many at once are not all free", () => {
    const answers = Array.from({ length: 100 }, () => throttle.begin("192.0.2.1", "ada"));
    expect(answers.filter((answer) => typeof answer === "object")).toHaveLength(6);
  });

  it("are forgotten a quarter of an hour after the last", () => {
    fail("192.0.2.1", "ada", 6);
    now += 15 * MINUTE + 1;
    fail("192.0.2.1", "ada", 5);
  });

  it("from one IPv6 network count together, however it is written", () => {
    fail("2001:db8:0:1::1", "ada", 3);
    fail("2001:db8:0:1:ffff::2", "grace", 3);
    expect(throttle.begin("2001:db8:0:1:0:0:0:3", "joan")).toBeTypeOf("number");
    expect(throttle.begin("2001:db8:0:2::1", "joan")).toBeTypeOf("object");
  });
});

describe("a successful sign-in", () => {
  it("is not counted, and leaves the failures before it", () => {
    for (let count = 0; count < 100; count += 1) {
      (throttle.begin("192.0.2.1", "ada") as Attempt).succeeded();
    }
    fail("192.0.2.1", "ada", 5);
    (throttle.begin("192.0.2.1", "ada") as Attempt).succeeded();
    fail("192.0.2.1", "ada", 1);
    expect(throttle.begin("192.0.2.1", "ada")).toBe(1000);
  });
});

describe("a known browser", () => {
  it("does not wait for the failures of others, nor they for its own", () => {
    fail("192.0.2.1", "ada", 6);
    for (let count = 0; count < 40; count += 1) {
      throttle.begin(`198.51.100.${String(count)}`, "ada");
    }
    expect(throttle.begin("192.0.2.1", "ada")).toBeTypeOf("number");
    for (let count = 0; count < 6; count += 1) {
      expect(throttle.begin("192.0.2.1", "ada", "her-laptop")).toBeTypeOf("object");
    }
    expect(throttle.begin("192.0.2.1", "ada", "her-laptop")).toBe(1000);
    expect(throttle.begin("192.0.2.1", "ada", "her-desktop")).toBeTypeOf("object");
  });

  it("leaves the counts of its address and account as they are", () => {
    for (let count = 0; count < 6; count += 1) {
      expect(throttle.begin("192.0.2.1", "ada", "her-laptop")).toBeTypeOf("object");
    }
    fail("192.0.2.1", "ada", 6);
  });
});

describe("a guesser that does not stop", () => {
  it("gets no more than one try per pause, and leaves none for new browsers of the same address", () => {
    pauses("192.0.2.1", "ada", 12);
    let tries = 0;
    for (let second = 0; second < 600; second += 1) {
      now += 1000;
      tries += typeof throttle.begin("192.0.2.1", "ada") === "object" ? 1 : 0;
      expect(throttle.begin("192.0.2.1", "ada"), "a new browser").toBeTypeOf("number");
    }
    expect(tries).toBe(10);
    expect(throttle.begin("192.0.2.1", "ada", "her-laptop")).toBeTypeOf("object");
  });
});

describe("the memory of failures", () => {
  it("of an account is not pushed out by tries that are refused", () => {
    fail("192.0.2.1", "ada", 6);
    for (let count = 0; count < 21; count += 1) {
      throttle.begin(`198.51.100.${String(count)}`, "grace");
    }
    expect(throttle.begin("203.0.113.1", "grace")).toBeTypeOf("number");
    for (let count = 0; count < 50_000; count += 1) {
      expect(throttle.begin("192.0.2.1", `x${String(count)}`)).toBeTypeOf("number");
    }
    expect(throttle.begin("203.0.113.1", "grace")).toBeTypeOf("number");
  });

  it("of an account is not pushed out by addresses", () => {
    for (let count = 0; count < 21; count += 1) {
      throttle.begin(`198.51.100.${String(count)}`, "grace");
    }
    for (let count = 0; count < 19_000; count += 1) {
      throttle.begin(`10.0.${String(count >> 8)}.${String(count & 255)}`, `x${String(count)}`);
    }
    expect(throttle.begin("203.0.113.1", "grace")).toBeTypeOf("number");
  });

  it("is bounded, and keeps those that go on", () => {
    fail("192.0.2.1", "ada", 6);
    for (let count = 0; count < 30_000; count += 1) {
      throttle.begin(
        `10.${String(count >> 16)}.${String((count >> 8) & 255)}.${String(count & 255)}`,
        `x${String(count)}`,
      );
      if (count % 1000 === 0) {
        expect(throttle.begin("192.0.2.1", "ada")).toBe(1000);
      }
    }
    expect(throttle.begin("192.0.2.1", "ada")).toBe(1000);
  });
});
