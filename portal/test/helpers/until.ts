import { setTimeout as sleep } from "node:timers/promises";

const LONGEST = 120_000;
const PAUSE = 50;

/** Asks until the answer is something, and gives it. Fails after two minutes, with what was waited for. */
export async function until<Value>(what: string, ask: () => Promise<Value | undefined | false>): Promise<Value> {
  const end = Date.now() + LONGEST;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) {
      return answer;
    }
    if (Date.now() > end) {
      throw new Error(`waited in vain for: ${what}`);
    }
    await sleep(PAUSE);
  }
}
