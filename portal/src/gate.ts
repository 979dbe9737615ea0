/** More wait at a {@link Gate} than it has room for. */
export class GateFull extends Error {
  constructor() {
    super("too many are waiting already");
    this.name = "GateFull";
  }
}

/** Lets so many through at a time, and so many more wait, in order. */
export class Gate {
  readonly #width: number;
  readonly #room: number;
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  constructor(width: number, room: number) {
    this.#width = width;
    this.#room = room;
  }

  /**
   * Runs `work` when it is its turn.
   *
   * @throws GateFull when there is no room to wait.
   */
  async run<Value>(work: () => Promise<Value>): Promise<Value> {
    if (this.#inside < this.#width) {
      this.#inside += 1;
    } else if (this.#waiting.length < this.#room) {
      // Who leaves hands its place on, so that nobody can slip in between.
      await new Promise<void>((enter) => this.#waiting.push(enter));
    } else {
      throw new GateFull();
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) {
        this.#inside -= 1;
      } else {
        next();
      }
    }
  }
}
