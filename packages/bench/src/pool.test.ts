import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import { runAtOnce } from "./pool.ts";

it.each([
  { works: 10, atOnce: 3, most: 3 },
  { works: 10, atOnce: 1, most: 1 },
  { works: 2, atOnce: 8, most: 2 },
])("runs each of $works once, at most $most at a time", async ({ works, atOnce, most }) => {
  let running = 0;
  let highest = 0;
  const done: number[] = [];
  const work = (index: number) => async () => {
    running += 1;
    highest = Math.max(highest, running);
    await setImmediate();
    running -= 1;
    done.push(index);
  };
  await runAtOnce(Array.from({ length: works }, (_, index) => work(index)), atOnce);
  expect(done.toSorted((a, b) => a - b)).toEqual(Array.from({ length: works }, (_, index) => index));
  expect(highest).toBe(most);
});

it("fails with the work that failed", async () => {
  await expect(runAtOnce([() => Promise.resolve(), () => Promise.reject(new Error("third"))], 2)).rejects.toThrow("third");
});
