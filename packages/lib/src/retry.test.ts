import { describe, expect, it } from "vitest";
import { pauses, retry, waitFor } from "./retry.ts";

const quick = { firstMs: 1, maxMs: 4, limitMs: 12 };
const { signal } = new AbortController();

it("doubles pauses up to the largest and never waits past the limit", () => {
  expect([...pauses(quick)]).toEqual([1, 2, 4, 4, 1]);
});

describe("retry", () => {
  it("repeats what may pass and returns the first success", async () => {
    let calls = 0;
    const work = () => (++calls < 3 ? Promise.reject(new Error("busy")) : Promise.resolve(calls));
    await expect(retry(work, () => true, signal, quick)).resolves.toBe(3);
  });

  it("throws at once what will not pass", async () => {
    let calls = 0;
    const work = () => Promise.reject(new Error(`call ${++calls}`));
    await expect(retry(work, () => false, signal, quick)).rejects.toThrow("call 1");
  });

  it("throws the last failure when the time is spent", async () => {
    let calls = 0;
    const work = () => Promise.reject(new Error(`call ${++calls}`));
    await expect(retry(work, () => true, signal, quick)).rejects.toThrow("call 6");
  });
});

describe("waitFor", () => {
  it("returns what it was waiting for", async () => {
    let looks = 0;
    await expect(waitFor("it", () => Promise.resolve(++looks < 3 ? undefined : "there"), signal, quick)).resolves.toBe("there");
  });

  it("throws timeout naming what it waited for", async () => {
    const never = () => Promise.resolve(undefined);
    await expect(waitFor("the device", never, signal, quick)).rejects.toMatchObject({ reason: "timeout", message: expect.stringContaining("the device") });
  });

  it("ends when it is aborted", async () => {
    const aborted = AbortSignal.abort();
    await expect(waitFor("it", () => Promise.resolve(undefined), aborted, quick)).rejects.toThrow("aborted");
  });
});
