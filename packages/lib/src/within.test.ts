import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { within } from "./within.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Listens as a call that waits does, and keeps nothing else of the signal. */
function hear(timeoutMs: number, signal: AbortSignal): { readonly heard: unknown[] } {
  const heard: unknown[] = [];
  const limited = within(timeoutMs, signal);
  limited.addEventListener("abort", () => heard.push((limited.reason as Error).name));
  return { heard };
}

describe("a limit of time", () => {
  it("comes, though garbage is collected before", async () => {
    const { heard } = hear(200, new AbortController().signal);
    await sleep(20);
    collectGarbage();
    await expect.poll(() => heard, { timeout: 10_000 }).toEqual(["TimeoutError"]);
  });

  it("is cut short by a signal", () => {
    const caller = new AbortController();
    const { heard } = hear(60_000, caller.signal);
    caller.abort(Object.assign(new Error("gone"), { name: "Gone" }));
    expect(heard).toEqual(["Gone"]);
  });
});
