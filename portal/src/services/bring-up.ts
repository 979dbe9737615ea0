/** A class from the service's stream of events. */

import { CLIENT_CODES, OrchestratorError } from "./errors.js";
import { serverEvents } from "./events.js";
import * as shapes from "./shapes.js";
import type { ClassProgress, ClassResult } from "./types.js";

/** What the service says of every seat when its infrastructure does not answer. */
const ENGINE_UNAVAILABLE = "engine_unavailable";

/** Follows the stream to the class's result. */
export async function classFrom(
  stream: AsyncIterable<Uint8Array>,
  onProgress: (progress: ClassProgress) => void,
): Promise<ClassResult> {
  for await (const event of serverEvents(stream)) {
    const data = shapes.json(event.data);
    switch (event.name) {
      case "stage":
        onProgress({ kind: "stage", stage: shapes.stage(data) });
        break;
      case "seat":
        onProgress({ kind: "seat", seat: shapes.seatResult(data) });
        break;
      case "done":
        return unlessDown(shapes.classResult(data));
      case "problem":
        throw lost(data);
      default:
      // A later service may tell more.
    }
  }
  const message = "the orchestrator's answer broke off before the class was done; it finishes what it has begun";
  throw new OrchestratorError(CLIENT_CODES.unreachable, message, { transient: true });
}

/** That no seat got anywhere because the engine does not answer is one error that may pass, and not thirty. */
function unlessDown(result: ClassResult): ClassResult {
  const [first] = result.seats;
  if (first !== undefined && result.seats.every((seat) => seat.code === ENGINE_UNAVAILABLE)) {
    const message = first.reason ?? "the engine does not answer";
    throw new OrchestratorError(ENGINE_UNAVAILABLE, message, { status: 503, transient: true });
  }
  return result;
}

function lost(data: unknown): OrchestratorError {
  const said = data as { code?: unknown; detail?: unknown } | null;
  const code = typeof said?.code === "string" ? said.code : "internal";
  const detail = typeof said?.detail === "string" ? said.detail : "the work on the class was lost";
  return new OrchestratorError(code, detail);
}
