import { setTimeout as sleep } from "node:timers/promises";

/** Whether the work ends, well or not, in that time. */
export async function endsWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  if (ms <= 0) return false;
  const over = new AbortController();
  const ended = work.then(() => true, () => true);
  try {
    return await Promise.race([ended, sleep(ms, false, { signal: over.signal, ref: false }).catch(() => false)]);
  } finally {
    over.abort();
  }
}
