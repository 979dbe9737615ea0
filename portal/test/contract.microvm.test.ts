import { describe } from "vitest";

import { isBuilt } from "../src/services/test/service.js";
import { portalContract } from "./contract.js";

/**
 * The flags of a service of microVM seats, as a JSON array, for whom a kernel and the images of the tests were made ready: the Rust
 * test target `vm_service` does that, and runs these tests in a network namespace.
 */
const prepared = process.env["CLARATEACH_TEST_MICROVM"];

describe.skipIf(!isBuilt || prepared === undefined)("the portal over microVMs", () => {
  const flags = JSON.parse(prepared ?? "[]") as string[];
  portalContract({
    quick: [...flags, "--seats-image", "microvm-testbed"],
    slow: [...flags, "--seats-image", "microvm-testbed:slow"],
    workshop: (name) => `vm-${name}`,
  });
});
