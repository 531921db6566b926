import { readFile } from "node:fs/promises";

/** A process beyond doubt: a pid alone is reused, but not together with its start time. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks since the kernel booted, field 22 of /proc/PID/stat (proc(5)). */
  readonly startTicks: number;
}

export function parseProcessId(text: string): ProcessId | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isProcessId(value) ? { pid: value.pid, startTicks: value.startTicks } : undefined;
}

export function isProcessId(value: unknown): value is ProcessId {
  return (
    value !== null &&
    typeof value === "object" &&
    "pid" in value &&
    typeof value.pid === "number" &&
    "startTicks" in value &&
    typeof value.startTicks === "number"
  );
}

/** Start time out of one line of /proc/PID/stat. The name in parentheses may itself hold spaces and parentheses. */
export function parseStartTicks(statLine: string): number {
  const afterName = statLine.slice(statLine.lastIndexOf(")") + 2).split(" ");
  return Number(afterName[19]);
}

export async function processId(pid: number): Promise<ProcessId | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (line === undefined) return undefined;
  // A zombie has ended; only its parent has not yet looked.
  if (line.slice(line.lastIndexOf(")") + 2).startsWith("Z")) return undefined;
  return { pid, startTicks: parseStartTicks(line) };
}

export async function thisProcess(): Promise<ProcessId> {
  const id = await processId(process.pid);
  if (id === undefined) throw new Error("read /proc/self/stat");
  return id;
}

export async function isSameProcess(id: ProcessId): Promise<boolean> {
  return (await processId(id.pid))?.startTicks === id.startTicks;
}

export async function commandLine(pid: number): Promise<readonly string[]> {
  const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return text.split("\0").slice(0, -1);
}
