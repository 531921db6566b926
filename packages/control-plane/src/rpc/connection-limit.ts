import { readFile } from "node:fs/promises";
import { defaultLimits } from "./connections.ts";

/** For the database, the hosts, logs, and what else a process has open. */
const otherFiles = 64;

/** As many connections as the limit of open files leaves room for (`ulimit -n`; proc(5), /proc/PID/limits). */
export async function connectionLimit(): Promise<number> {
  const text = await readFile("/proc/self/limits", "utf8").catch(() => "");
  return limitFrom(text);
}

/** `Max open files            1024                 524288               files` */
export function limitFrom(text: string): number {
  const soft = Number(/^Max open files\s+(\d+)/m.exec(text)?.[1] ?? Number.NaN);
  if (Number.isNaN(soft)) return defaultLimits.connections;
  return Math.min(defaultLimits.connections, Math.max(16, Math.floor((soft - otherFiles) * 0.75)));
}
