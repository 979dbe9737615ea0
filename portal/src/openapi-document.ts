import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { hashPassword } from "./auth/password.js";
import { readConfig } from "./config.js";
import { makePortal } from "./portal.js";

/** The OpenAPI document of a portal with default settings, as text. */
export async function openApiDocument(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "portal-openapi-"));
  const config = readConfig({
    PORTAL_DATA_DIR: folder,
    PORTAL_SECRET: "only for a portal that never listens",
    PORTAL_PASSWORD_HASH: await hashPassword("nobody signs in", { logN: 14, r: 8, p: 1 }),
    PORTAL_LOG_LEVEL: "silent",
  });
  try {
    const portal = await makePortal(config);
    try {
      return `${JSON.stringify(portal.app.swagger(), null, 2)}\n`;
    } finally {
      await portal.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
