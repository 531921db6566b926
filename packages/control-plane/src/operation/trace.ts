import { AsyncLocalStorage } from "node:async_hooks";
import type { CommandRecord } from "../store/stores.ts";

/** Attributes what runs on hosts to the step that asked for it, however deep in the wrappers the call was made. */
export interface StepTrace {
  readonly step: string;
  readonly commands: CommandRecord[];
}

const current = new AsyncLocalStorage<StepTrace>();

export function traced<T>(trace: StepTrace, work: () => Promise<T>): Promise<T> {
  return current.run(trace, work);
}

export function recordCommand(command: Omit<CommandRecord, "step">): void {
  const trace = current.getStore();
  trace?.commands.push({ step: trace.step, ...command });
}
