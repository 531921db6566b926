import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { KeyedMutex } from "./keyed-mutex.ts";

it("runs holders of one key one at a time, in order", async () => {
  const mutex = new KeyedMutex();
  const log: string[] = [];
  const work = (name: string) => mutex.run("k", async () => {
    log.push(`${name} in`);
    await sleep(1);
    log.push(`${name} out`);
  });
  await Promise.all([work("a"), work("b"), work("c")]);
  expect(log).toEqual(["a in", "a out", "b in", "b out", "c in", "c out"]);
  expect(mutex.size).toBe(0);
});

it("lets different keys run together", async () => {
  const mutex = new KeyedMutex();
  using _held = await mutex.acquire("a");
  await expect(mutex.run("b", () => Promise.resolve("ran"))).resolves.toBe("ran");
});

it("goes on after a holder failed", async () => {
  const mutex = new KeyedMutex();
  await expect(mutex.run("k", () => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
  await expect(mutex.run("k", () => Promise.resolve("next"))).resolves.toBe("next");
});

it("a waiter that gives up neither gets the turn nor blocks those behind it", async () => {
  const mutex = new KeyedMutex();
  const held = await mutex.acquire("k");
  const given = new AbortController();
  const waiting = mutex.acquire("k", given.signal);
  const behind = mutex.run("k", () => Promise.resolve("behind"));
  given.abort(new Error("gave up"));
  await expect(waiting).rejects.toThrow("gave up");
  held[Symbol.dispose]();
  await expect(behind).resolves.toBe("behind");
  expect(mutex.size).toBe(0);
});
