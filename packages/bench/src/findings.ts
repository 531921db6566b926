import type { Summary } from "./statistics.ts";

/** A number that was measured, as it is. Only comparable within one run. */
export interface Measure extends Summary {
  readonly name: string;
  readonly unit: "ms" | "MB" | "calls/s" | "%";
}

/** A number with a limit. */
export interface Ratio {
  readonly name: string;
  readonly value: number;
  readonly limit: number;
  readonly bound: "at most" | "at least";
  /** `times` when it is a quotient of two measures. */
  readonly unit: "times" | "MB" | "s" | "ms" | "%";
  readonly ok: boolean;
}

export interface Findings {
  readonly measures: readonly Measure[];
  readonly ratios: readonly Ratio[];
}

export function atMost(name: string, value: number, limit: number, unit: Ratio["unit"] = "times"): Ratio {
  return { name, value, limit, bound: "at most", unit, ok: value <= limit };
}

export function atLeast(name: string, value: number, limit: number): Ratio {
  return { name, value, limit, bound: "at least", unit: "times", ok: value >= limit };
}

export function merge(all: readonly Findings[]): Findings {
  return { measures: all.flatMap(({ measures }) => measures), ratios: all.flatMap(({ ratios }) => ratios) };
}
