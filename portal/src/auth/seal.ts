/**
 * Api keys at rest: AES-256-GCM, bound to the workshop they belong to, in base64url.
 *
 *   byte   0        1 … 12   13 … 28   29 …
 *          version  nonce    tag       ciphertext
 */

import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES;

/** What was sealed cannot be opened: with another secret, for another workshop, or damaged. */
export class CannotOpen extends Error {
  constructor() {
    super("what was sealed cannot be opened");
    this.name = "CannotOpen";
  }
}

/** Encrypts a text for one workshop. The same text never gives the same bytes twice. */
export function seal(key: Buffer, workshop: string, text: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(workshop));
  const ciphertext = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([Buffer.of(VERSION), nonce, cipher.getAuthTag(), ciphertext]).toString("base64url");
}

/**
 * Decrypts what {@link seal} made.
 *
 * @throws CannotOpen
 */
export function unseal(key: Buffer, workshop: string, sealedText: string): string {
  const sealed = Buffer.from(sealedText, "base64url");
  if (sealed.length < HEAD_BYTES || sealed[0] !== VERSION) {
    throw new CannotOpen();
  }
  const nonce = sealed.subarray(1, 1 + NONCE_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(workshop));
  decipher.setAuthTag(sealed.subarray(1 + NONCE_BYTES, HEAD_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(HEAD_BYTES)), decipher.final()]).toString("utf8");
  } catch {
    throw new CannotOpen();
  }
}
