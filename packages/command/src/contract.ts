import type { Executor } from "./executor.ts";
import { fileContract } from "./contract-files.ts";
import { processContract } from "./contract-process.ts";
import { posixWords, sequenceContract, sequenceProcessContract, type SequenceWords } from "./contract-sequence.ts";
import { streamContract } from "./contract-stream.ts";

/** An executor under test and a directory of its host that is empty, writable and ours. */
export interface ContractSubject {
  readonly executor: Executor;
  readonly dir: string;
  close(): Promise<void>;
}

export interface ContractOptions {
  readonly name: string;
  /** Called once before the cases of each part; every case works in a directory of its own below `dir`. */
  readonly make: () => Promise<ContractSubject>;
  /** How often each generated property is tried, default 50; fewer where a call is slow. */
  readonly runs?: number;
}

export { fileContract, processContract, sequenceContract, streamContract, type SequenceWords };

/**
 * What every Executor promises, as vitest cases. The process part needs a POSIX userland (sh, printf, cat, sleep) on the
 * host; an executor without one, such as a simulated host, takes the file part, and that of sequences with words of its own.
 */
export function executorContract(options: ContractOptions): void {
  processContract(options);
  sequenceContract(options, posixWords);
  sequenceProcessContract(options);
  fileContract(options);
}
