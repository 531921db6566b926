import { describe, expect, it } from "vitest";
import { AsyncQueue } from "./async-queue.ts";

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const seen: T[] = [];
  for await (const value of values) seen.push(value);
  return seen;
}

describe("AsyncQueue", () => {
  it("gives out in order what was pushed before and while somebody reads, and then ends", async () => {
    const queue = new AsyncQueue<number>();
    queue.push(1);
    const read = all(queue);
    queue.push(2);
    await Promise.resolve();
    queue.push(3);
    queue.end();
    expect(await read).toEqual([1, 2, 3]);
    expect(queue.push(4)).toBe(false);
  });

  it("keeps nothing once its reader has gone", async () => {
    const queue = new AsyncQueue<number>();
    queue.push(1);
    queue.push(2);
    for await (const value of queue) {
      expect(value).toBe(1);
      break;
    }
    expect(queue.push(3)).toBe(false);
    expect(await all(queue)).toEqual([]);
  });
});
