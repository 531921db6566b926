import { describe, expect, it } from "vitest";
import { sampleRounds, Samples } from "./sampling.ts";

const { signal } = new AbortController();

/** A clock that work moves. */
function clock() {
  let time = 0;
  return { now: () => time, spend: (ms: number) => () => Promise.resolve((time += ms)) };
}

describe("sampleRounds", () => {
  it("takes turns, and does not count the rounds that warm up", async () => {
    const { now, spend } = clock();
    const order: string[] = [];
    const noting = (name: "a" | "b", ms: number) =>
      [name, () => { order.push(name); return spend(ms)(); }] as const;
    const samples = await sampleRounds(
      (round) => [noting("a", round < 2 ? 1000 : 4), noting("b", 8)],
      { warmUp: 2, rounds: 3, signal, now },
    );
    expect(order.join("")).toBe("ababababab");
    expect(samples.summary("a")).toEqual({ median: 4, p90: 4, samples: 3 });
    expect(samples.ratio("b", "a")).toBe(2);
  });

  it("counts a step that stands several times in a round as one", async () => {
    const { now, spend } = clock();
    const samples = await sampleRounds(() => [["x", spend(1)], ["y", spend(5)], ["x", spend(3)]], { warmUp: 0, rounds: 2, signal, now });
    expect(samples.summary("x")).toEqual({ median: 2, p90: 3, samples: 4 });
  });

  it("ends with the first step that fails", async () => {
    const failing = sampleRounds(() => [["a", () => Promise.reject(new Error("broken"))]], { warmUp: 1, rounds: 1, signal });
    await expect(failing).rejects.toThrow("broken");
  });

  it("stops when it is told to", async () => {
    const controller = new AbortController();
    const stopping = sampleRounds(
      () => [["a", () => { controller.abort(new Error("enough")); return Promise.resolve(); }]],
      { warmUp: 0, rounds: 9, signal: controller.signal },
    );
    await expect(stopping).rejects.toThrow("enough");
  });
});

it("does not make numbers up for what was never sampled", () => {
  expect(() => new Samples<"a">().summary("a")).toThrow("a was not sampled");
});
