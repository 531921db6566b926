import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Lanes } from "./lanes.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Works that end when they are told to, and what has begun and ended. */
function works(lanes: Lanes) {
  const begun: string[] = [];
  const ended: string[] = [];
  const ends = new Map<string, () => void>();
  return {
    begun,
    ended,
    start: (host: string, name: string): void => {
      const work = (): Promise<void> => {
        begun.push(name);
        return new Promise((resolve) => ends.set(name, resolve));
      };
      void lanes.run(host, work).then(() => ended.push(name));
    },
    end: async (name: string): Promise<void> => {
      ends.get(name)?.();
      await vi.advanceTimersByTimeAsync(0);
    },
  };
}

it("lets a few work on a host at once, and the others begin in the order they came", async () => {
  const { begun, ended, start, end } = works(new Lanes({ places: 2 }));
  for (const name of ["a", "b", "c", "d"]) start("give", name);
  await vi.advanceTimersByTimeAsync(0);
  expect(begun).toEqual(["a", "b"]);
  await end("b");
  expect([begun, ended]).toEqual([["a", "b", "c"], ["b"]]);
  await end("a");
  expect(begun).toEqual(["a", "b", "c", "d"]);
});

it("keeps hosts apart", async () => {
  const { begun, start } = works(new Lanes({ places: 1 }));
  start("give", "a");
  start("give", "b");
  start("other", "c");
  await vi.advanceTimersByTimeAsync(0);
  expect(begun).toEqual(["a", "c"]);
});

it("gives a place up when its work takes long, sooner while the host is slow, and counts it once", async () => {
  const { begun, start, end } = works(new Lanes({ places: 1, patienceMs: 10_000, shortPatienceMs: 1_000 }));
  for (const name of ["a", "b", "c", "d", "e"]) start("give", name);
  await vi.advanceTimersByTimeAsync(9_999);
  expect(begun).toEqual(["a"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(begun).toEqual(["a", "b"]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(begun).toEqual(["a", "b", "c"]);
  await end("a");
  expect(begun).toEqual(["a", "b", "c"]);
  await end("c");
  expect(begun).toEqual(["a", "b", "c", "d"]);
  await vi.advanceTimersByTimeAsync(9_999);
  expect(begun).toEqual(["a", "b", "c", "d"]);
});

it("frees the place of work that fails", async () => {
  const lanes = new Lanes({ places: 1 });
  await expect(lanes.run("give", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  await expect(lanes.run("give", () => Promise.resolve("yes"))).resolves.toBe("yes");
});
