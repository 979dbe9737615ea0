import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

const folders = ["test", "src/services/test"];
const named = (suffix: string) => folders.map((folder) => `${folder}/**/*${suffix}.test.ts`);
// The client's tests know the binary by the first name, everything else in the repository by the second.
const binary = process.env["CLARATEACH_TEST_SERVICE"] ?? process.env["ORCHESTRATOR_BIN"];

const project = (name: string, include: string[], exclude: string[]) => ({
  extends: true as const,
  test: { name, include, exclude },
});

export default defineConfig({
  resolve: {
    alias: {
      "@clarateach/orchestrator-client": fileURLToPath(new URL("src/services/orchestrator.ts", import.meta.url)),
    },
  },
  test: {
    globalSetup: "test/helpers/build.ts",
    // Far longer than anything takes: the machine may be busy.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    env: binary === undefined ? {} : { CLARATEACH_TEST_SERVICE: binary },
    projects: [
      project("unit", named(""), [...named(".sim"), ...named(".docker"), ...named(".microvm")]),
      project("sim", named(".sim"), []),
      project("docker", named(".docker"), []),
      project("microvm", named(".microvm"), []),
    ],
  },
});
