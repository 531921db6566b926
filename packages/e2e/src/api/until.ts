import { setTimeout as sleep } from "node:timers/promises";

/** Looks again and again, since what machines do shows in their own time. */
export async function until(what: string, look: () => Promise<boolean>, { limitMs = 300_000, everyMs = 1_000 } = {}): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await look())) {
    if (Date.now() > end) throw new Error(`gave up waiting until ${what}`);
    await sleep(everyMs);
  }
}
