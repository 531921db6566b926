import { AsyncLocalStorage } from "node:async_hooks";
import type { CommandRecord } from "../store/stores.ts";

/** How much of a long step is done. Not journaled: a restart undoes or repeats the step. */
export interface Progress {
  readonly step: string;
  readonly doneBytes: bigint;
  /** An estimate; 0 when nothing is known. */
  readonly totalBytes: bigint;
}

/** Attributes what runs on hosts to the step that asked for it, however deep in the wrappers the call was made. */
export interface StepTrace {
  readonly step: string;
  readonly commands: CommandRecord[];
  readonly onProgress: (progress: Omit<Progress, "step">) => void;
}

const current = new AsyncLocalStorage<StepTrace>();

export function traced<T>(trace: StepTrace, work: () => Promise<T>): Promise<T> {
  return current.run(trace, work);
}

export function recordCommand(command: Omit<CommandRecord, "step">): void {
  const trace = current.getStore();
  trace?.commands.push({ step: trace.step, ...command });
}

/** Tells watchers of the operation how far the step is that runs now. */
export function reportProgress(progress: Omit<Progress, "step">): void {
  current.getStore()?.onProgress(progress);
}
