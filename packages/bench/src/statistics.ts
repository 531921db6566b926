export interface Summary {
  readonly median: number;
  /** Nine of ten samples are at most this. */
  readonly p90: number;
  readonly samples: number;
}

/** The middle value, or the mean of the two in the middle. */
export function median(samples: readonly number[]): number {
  const sorted = inOrder(samples);
  const middle = sorted.length / 2;
  return (at(sorted, Math.ceil(middle) - 1) + at(sorted, Math.floor(middle))) / 2;
}

/** The smallest sample that at least `share` (0 to 1) of them do not exceed. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = inOrder(samples);
  return at(sorted, Math.max(0, Math.ceil(share * sorted.length) - 1));
}

export function summarize(samples: readonly number[]): Summary {
  return { median: median(samples), p90: quantile(samples, 0.9), samples: samples.length };
}

function inOrder(samples: readonly number[]): number[] {
  if (samples.length === 0) throw new RangeError("no samples");
  return [...samples].sort((a, b) => a - b);
}

function at(sorted: readonly number[], index: number): number {
  const value = sorted[index];
  if (value === undefined) throw new RangeError(`no sample ${index} of ${sorted.length}`);
  return value;
}
