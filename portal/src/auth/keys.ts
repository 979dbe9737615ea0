import { hkdfSync } from "node:crypto";

/** The keys of the portal, each for one purpose, 32 bytes each. */
export interface Keys {
  /** Signs the session cookie. */
  readonly cookie: Buffer;
  /** Signs the cookie of a known browser. */
  readonly device: Buffer;
  /** Makes CSRF tokens. */
  readonly csrf: Buffer;
  /** Encrypts stored api keys. */
  readonly seal: Buffer;
}

/** Derives the keys from the configured secret (HKDF, RFC 5869). */
export function deriveKeys(secret: string): Keys {
  const derive = (purpose: string): Buffer =>
    Buffer.from(hkdfSync("sha256", secret, Buffer.alloc(0), `clarateach-portal/1 ${purpose}`, 32));
  return {
    cookie: derive("session cookie"),
    device: derive("known browser"),
    csrf: derive("csrf token"),
    seal: derive("stored api key"),
  };
}
