import type { Machines } from "@zfsilo/microvm";
import type { Findings } from "./findings.ts";

export interface Bench {
  readonly signal: AbortSignal;
  /** Says on the terminal what is being done. */
  readonly progress: (line: string) => void;
}

export interface Measurement {
  /** What `--only` is told. */
  readonly name: string;
  run(bench: Bench): Promise<Findings>;
}

/** One on give and take, for `--microvm`. */
export interface MachineMeasurement {
  readonly name: string;
  run(bench: Bench, machines: Machines): Promise<Findings>;
}
