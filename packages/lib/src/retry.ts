import { setTimeout as sleep } from "node:timers/promises";
import { StorageError } from "./errors.ts";

export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
  /** All waiting together never exceeds this. */
  readonly limitMs: number;
}

/** For things that settle in well under a second, such as a device link or a backstore that is briefly busy. */
export const shortBackoff: Backoff = { firstMs: 5, maxMs: 250, limitMs: 10_000 };

/** The pauses of a backoff: doubling from `firstMs` up to `maxMs`, until `limitMs` has been spent. */
export function* pauses(backoff: Backoff): Generator<number> {
  let spent = 0;
  let pause = backoff.firstMs;
  while (spent < backoff.limitMs) {
    const next = Math.min(pause, backoff.limitMs - spent);
    yield next;
    spent += next;
    pause = Math.min(pause * 2, backoff.maxMs);
  }
}

/** Repeats `work` while `isTransient` says the failure may pass. The last failure is thrown when the backoff is spent. */
export async function retry<T>(
  work: () => Promise<T>,
  isTransient: (error: unknown) => boolean,
  signal: AbortSignal,
  backoff: Backoff = shortBackoff,
): Promise<T> {
  const waits = pauses(backoff);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isTransient(error)) throw error;
      const pause = waits.next();
      if (pause.done === true) throw error;
      await sleep(pause.value, undefined, { signal });
    }
  }
}

/** Polls `look` until it returns something. Throws `timeout` naming `what` when the backoff is spent. */
export async function waitFor<T>(
  what: string,
  look: () => Promise<T | undefined>,
  signal: AbortSignal,
  backoff: Backoff = shortBackoff,
): Promise<T> {
  for (const pause of pauses(backoff)) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(pause, undefined, { signal });
  }
  const last = await look();
  if (last !== undefined) return last;
  throw new StorageError("timeout", `wait for ${what} (${backoff.limitMs} ms)`);
}
