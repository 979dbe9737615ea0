/** Notices when the other side of a stream has gone without saying so. */

/** A signal that fires when nothing was heard for a while. */
export class Silence {
  readonly #controller = new AbortController();
  readonly #limitMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
    this.heard();
  }

  /** Fires once nothing was heard for the time. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something came: the time begins anew. */
  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#controller.abort();
    }, this.#limitMs);
  }

  /** Nobody listens any more. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
