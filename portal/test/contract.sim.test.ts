import { describe } from "vitest";

import { isBuilt } from "../src/services/test/service.js";
import { portalContract } from "./contract.js";

describe.skipIf(!isBuilt)("the portal over simulated seats", () => {
  portalContract({
    quick: ["--provider", "sim"],
    slow: ["--provider", "sim", "--seats-image", "sim/slow"],
    workshop: (name) => `sim-${name}`,
  });
});
