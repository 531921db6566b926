import { describe, expect, it } from "vitest";
import { median, quantile, summarize } from "./statistics.ts";

describe("median", () => {
  it.each([
    { samples: [3], expected: 3 },
    { samples: [9, 1, 5], expected: 5 },
    { samples: [4, 1, 3, 2], expected: 2.5 },
    // As numbers and not as texts, where 10 stands before 9.
    { samples: [10, 9, 100], expected: 10 },
  ])("of $samples is $expected", ({ samples, expected }) => {
    expect(median(samples)).toBe(expected);
  });

  it("leaves the samples in the order they came", () => {
    const samples = [3, 1, 2];
    median(samples);
    expect(samples).toEqual([3, 1, 2]);
  });

  it("of nothing is refused", () => {
    expect(() => median([])).toThrow("no samples");
  });
});

describe("quantile", () => {
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  it.each([
    { samples: hundred, share: 0.9, expected: 90 },
    { samples: hundred, share: 1, expected: 100 },
    { samples: hundred, share: 0, expected: 1 },
    { samples: [7], share: 0.9, expected: 7 },
    { samples: [1, 2, 3], share: 0.9, expected: 3 },
  ])("$share of $samples.length samples", ({ samples, share, expected }) => {
    expect(quantile(samples, share)).toBe(expected);
  });
});

it("sums samples up", () => {
  expect(summarize([1, 2, 3, 4, 100])).toEqual({ median: 3, p90: 100, samples: 5 });
});
