import { setTimeout as sleep } from "node:timers/promises";

/** What `look` finds: it looks again and again, since what machines do shows in their own time. */
export async function until<T>(what: string, look: () => Promise<T | undefined | false>, { limitMs = 300_000, everyMs = 1_000 } = {}): Promise<T> {
  const end = Date.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`gave up after ${limitMs} ms waiting until ${what}`);
    await sleep(everyMs);
  }
}
