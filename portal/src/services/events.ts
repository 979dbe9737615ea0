/** Server-sent events (WHATWG HTML, 9.2) out of a byte stream. */

import { CLIENT_CODES, OrchestratorError } from "./errors.js";

/** One event. */
export interface ServerEvent {
  /** Its name; `message` unless said. */
  readonly name: string;
  /** Its data, line by line. */
  readonly data: string;
}

/** The most characters that one event may have: the result of a hundred seats is a tenth of it. */
const MOST_CHARACTERS = 4 * 1024 * 1024;

/**
 * The events of a stream, in order. An event that the stream's end cuts off is dropped, as the standard says; who
 * waits for a last event notices that it did not come.
 */
export async function* serverEvents(stream: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let name = "";
  let data: string[] = [];
  let size = 0;
  let rest = "";
  for await (const chunk of stream) {
    rest += decoder.decode(chunk, { stream: true });
    size += chunk.length;
    if (size > MOST_CHARACTERS) {
      throw new OrchestratorError(CLIENT_CODES.badResponse, "the service sent an event that is too large");
    }
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) {
          yield { name: name === "" ? "message" : name, data: data.join("\n") };
        }
        [name, data, size] = ["", [], rest.length];
        continue;
      }
      const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
      if (field === "event") {
        name = value ?? "";
      } else if (field === "data") {
        data.push(value ?? "");
      }
    }
  }
}
