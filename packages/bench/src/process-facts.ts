import { readFile } from "node:fs/promises";

/** USER_HZ, in which Linux tells times to programs on every architecture that Node.js has (time(7)). */
const ticksPerSecond = 100;

/** VmRSS of proc_pid_status(5), in KiB there. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kib === undefined) throw new Error(`process ${pid} shows no resident memory`);
  return Number(kib) * 1024;
}

/** Seconds on a processor so far, of proc_pid_stat(5). The second field, a name in parentheses, may hold anything. */
export async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // utime and stime, fields 14 and 15 of which the first here is 3.
  const [user, system] = [Number(fields[11]), Number(fields[12])];
  if (!Number.isInteger(user) || !Number.isInteger(system)) throw new Error(`process ${pid} shows no times`);
  return (user + system) / ticksPerSecond;
}
