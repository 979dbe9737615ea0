/**
 * Passwords are kept as hashes of scrypt (RFC 7914), one line each:
 *
 *   scrypt:15:8:3:<salt>:<key>
 *          │  │ │   │      └ what scrypt made of password and salt, 32 bytes, base64url
 *          │  │ │   └ 16 random bytes, base64url
 *          │  │ └ p, how often one after the other
 *          │  └ r, the block size
 *          └ log2 of N, the cost
 *
 * No `$` is in it, which compose files and shells would take for the beginning of a variable.
 */

import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";

import { Gate } from "../gate.js";

/** What a password is hashed with: 128 · 2^logN · r bytes of memory, p times. */
export interface Cost {
  readonly logN: number;
  readonly r: number;
  readonly p: number;
}

/** A parsed hash. */
export interface PasswordHash extends Cost {
  readonly salt: Buffer;
  readonly key: Buffer;
  /** The line that it was parsed from. */
  readonly text: string;
}

/** What new hashes cost: 32 MiB and some hundred milliseconds. */
export const DEFAULT_COST: Cost = { logN: 15, r: 8, p: 3 };

/** The shortest password that is hashed, in characters. */
export const LEAST_CHARACTERS = 8;
/** The longest password that is looked at, in bytes. */
export const MOST_BYTES = 1024;

const SALT_BYTES = 16;
const KEY_BYTES = 32;
const MOST_MEMORY = 256 * 1024 * 1024;

// Each check takes memory and a thread for a while: a crowd of sign-ins must not take all of both.
const gate = new Gate(2, 64);

/**
 * Parses a line as {@link hashPassword} makes it.
 *
 * @throws Error that says what is wrong and does not quote the line.
 */
export function parsePasswordHash(text: string): PasswordHash {
  const match = /^scrypt:(\d{1,2}):(\d{1,2}):(\d{1,2}):([\w-]{22,86}):([\w-]{43})$/.exec(text);
  if (match === null) {
    throw new Error("is not a password hash of the form scrypt:15:8:3:<salt>:<key>; npm run hash-password makes one");
  }
  const [logN, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (logN < 14 || r < 8 || r > 32 || p < 1 || p > 16 || memory({ logN, r, p }) > MOST_MEMORY) {
    throw new Error("is a password hash with a cost that is out of bounds; npm run hash-password makes one");
  }
  const salt = Buffer.from(match[4] ?? "", "base64url");
  const key = Buffer.from(match[5] ?? "", "base64url");
  return { logN, r, p, salt, key, text };
}

/** Hashes a password with a new salt. */
export async function hashPassword(password: string, cost: Cost = DEFAULT_COST): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const key = await derive(password, salt, cost);
  const numbers = [cost.logN, cost.r, cost.p].join(":");
  return `scrypt:${numbers}:${salt.toString("base64url")}:${key.toString("base64url")}`;
}

/**
 * Whether this is the password. Takes the same time for a right and a wrong one.
 *
 * @throws GateFull when too many checks wait already.
 */
export async function verifyPassword(password: string, hash: PasswordHash): Promise<boolean> {
  const key = await derive(password, hash.salt, hash);
  return timingSafeEqual(key, hash.key);
}

function derive(password: string, salt: Buffer, cost: Cost): Promise<Buffer> {
  const options = { N: 2 ** cost.logN, r: cost.r, p: cost.p, maxmem: memory(cost) + 1024 * 1024 };
  return gate.run(
    () =>
      new Promise((resolve, reject) => {
        // The same characters can be typed in more than one way (RFC 8265).
        scrypt(password.normalize("NFKC"), salt, KEY_BYTES, options, (error, key) => {
          if (error === null) {
            resolve(key);
          } else {
            reject(error);
          }
        });
      }),
  );
}

function memory({ logN, r, p }: Cost): number {
  return 128 * r * (2 ** logN + p);
}
