import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";

/** Which process on which boot of which machine: enough to tell later whether it still lives. */
export interface ProcessIdentity {
  readonly host: string;
  readonly bootId: string;
  /** Process ids mean something only inside it: containers of one kernel have their own. */
  readonly pidNamespace: string;
  readonly pid: number;
  /** Clock ticks after boot (proc_pid_stat(5), field 22): tells a process from a later one with the same id. */
  readonly startTicks: string;
}

export async function ownIdentity(): Promise<ProcessIdentity> {
  const [bootId, pidNamespace, stat] = await Promise.all([
    readFile("/proc/sys/kernel/random/boot_id", "utf8"),
    readlink("/proc/self/ns/pid"),
    readStat(process.pid),
  ]);
  return { host: hostname(), bootId: bootId.trim(), pidNamespace, pid: process.pid, startTicks: stat?.startTicks ?? "" };
}

/** `unknown` from anywhere that cannot see the process: another machine, another container. */
export async function judge(other: ProcessIdentity, own: ProcessIdentity): Promise<"alive" | "dead" | "unknown"> {
  if (other.host !== own.host) return "unknown";
  // The kernel that ran it is gone.
  if (other.bootId !== own.bootId) return "dead";
  if (other.pidNamespace !== own.pidNamespace) return "unknown";
  const stat = await readStat(other.pid);
  // Z and X: killed, and not collected by its parent yet (proc_pid_stat(5), field 3).
  if (stat === undefined || stat.startTicks !== other.startTicks || ["Z", "X"].includes(stat.state)) return "dead";
  return "alive";
}

async function readStat(pid: number): Promise<{ state: string; startTicks: string } | undefined> {
  try {
    // `1234 (node) S 1 ...`: the name may hold anything, also blanks and brackets.
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", startTicks: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}
