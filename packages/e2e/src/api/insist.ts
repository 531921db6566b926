import { Code, ConnectError } from "@connectrpc/connect";
import { setTimeout as sleep } from "node:timers/promises";

/** Repeats a call as every client must, twice a second: what a server or agent that is gone answers, and what is still under way, is asked again. */
export async function insist<T>(call: () => Promise<T>, repeats = 120): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      const { code } = ConnectError.from(error);
      if (attempt === repeats || (code !== Code.Aborted && code !== Code.Unavailable)) throw error;
      await sleep(500);
    }
  }
}
