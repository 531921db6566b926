import { spawn } from "node:child_process";
import { open, readdir, readFile, readlink, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { StorageError, within } from "@zfsilo/lib";
import { exists } from "./cache.ts";
import { commandLine, isSameProcess, processId, type ProcessId } from "./process-id.ts";
import { qemuCommand, vmFiles, type VmPlan } from "./qemu-command.ts";
import { qmpCommand } from "./qmp.ts";
import { roleNames, type RoleName } from "./roles.ts";
import { missingTool, toolEnvironment } from "./run-tool.ts";

/** `owned` machines die with the process that started them, however it ends; `background` ones outlive it. */
export type Lifetime = "owned" | "background";

/** Starts QEMU in the instance's directory and waits until it runs the guest (a saved state is loaded by then). */
export async function startVm(
  directory: string,
  plan: VmPlan,
  lifetime: Lifetime,
  signal: AbortSignal,
): Promise<ProcessId> {
  const monitor = join(directory, vmFiles.monitor(plan.role));
  assertSocketPath(monitor);
  await rm(monitor, { force: true });
  const log = await open(join(directory, vmFiles.qemuLog(plan.role)), "w");
  try {
    const id = await spawnQemu(directory, plan, lifetime, log.fd);
    try {
      await waitUntilRunning(directory, plan.role, id, signal);
    } catch (error) {
      // Nobody else knows of this process yet.
      await stopVm(directory, plan.role, id);
      throw error;
    }
    return id;
  } finally {
    await log.close();
  }
}

/** sun_path holds 108 bytes with its ending zero (unix(7)); a longer path would be cut off silently. */
export function assertSocketPath(path: string): void {
  if (Buffer.byteLength(path) < 108) return;
  throw new StorageError("precondition", `make the socket ${path}`, {
    cause: new Error("the path is too long for a unix socket"),
    hint: "Set XDG_CACHE_HOME to a shorter directory.",
  });
}

async function spawnQemu(directory: string, plan: VmPlan, lifetime: Lifetime, log: number): Promise<ProcessId> {
  const qemu = qemuCommand(plan);
  // setpriv becomes QEMU: the pid stays, and the kernel kills it when its parent ends.
  const [program, ...rest] = lifetime === "owned" ? ["setpriv", "--pdeathsig", "KILL", ...qemu] : qemu;
  const child = spawn(program, rest, {
    cwd: directory,
    stdio: ["ignore", log, log],
    detached: lifetime === "background",
    env: toolEnvironment(),
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => {
      reject(missingTool(program, error));
    });
  });
  child.on("error", () => undefined);
  child.unref();
  const id = child.pid === undefined ? undefined : await processId(child.pid);
  if (id === undefined) throw await startFailure(directory, plan.role);
  return id;
}

async function waitUntilRunning(directory: string, role: RoleName, id: ProcessId, signal: AbortSignal): Promise<void> {
  const monitor = join(directory, vmFiles.monitor(role));
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    signal.throwIfAborted();
    if (!(await isSameProcess(id))) throw await startFailure(directory, role);
    // The monitor answers only once the saved state is in.
    if ((await exists(monitor)) && (await isRunning(monitor, signal))) return;
    await sleep(50, undefined, { signal });
  }
  throw new StorageError("timeout", `start ${role}: QEMU's monitor does not answer`);
}

async function isRunning(monitor: string, signal: AbortSignal): Promise<boolean> {
  try {
    const status = await qmpCommand(monitor, "query-status", {}, within(10_000, signal));
    return status !== null && typeof status === "object" && "running" in status && status.running === true;
  } catch {
    return false;
  }
}

async function startFailure(directory: string, role: RoleName): Promise<StorageError> {
  const log = await readFile(join(directory, vmFiles.qemuLog(role)), "utf8").catch(() => "");
  return new StorageError("internal", `start ${role}: QEMU ended at once`, { cause: new Error(log.trim().slice(-2000)) });
}

/** Whether `id` is still the QEMU of this role in this directory. Nothing else is ever sent a signal. */
export async function isVm(directory: string, role: RoleName, id: ProcessId): Promise<boolean> {
  if (!(await isSameProcess(id))) return false;
  const argv = await commandLine(id.pid);
  if (!argv.some((word) => word.endsWith("qemu-system-x86_64")) || argv[argv.indexOf("-name") + 1] !== role) return false;
  const workingDirectory = await readlink(`/proc/${id.pid}/cwd`).catch(() => undefined);
  return workingDirectory !== undefined && workingDirectory === (await realpath(directory).catch(() => undefined));
}

/** Every QEMU of ours that runs in this directory, known from a state file or not. */
export async function findVms(directory: string): Promise<readonly { role: RoleName; id: ProcessId }[]> {
  const found: { role: RoleName; id: ProcessId }[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const id = await processId(Number(name));
    if (id === undefined) continue;
    for (const role of roleNames) if (await isVm(directory, role, id)) found.push({ role, id });
  }
  return found;
}

/** Ends QEMU: asked first, so that it closes its disks in order; killed after five seconds. Already ended is success. */
export async function stopVm(directory: string, role: RoleName, id: ProcessId): Promise<void> {
  for (const [kill, patienceMs] of [["SIGTERM", 5_000], ["SIGKILL", 10_000]] as const) {
    if (!(await isVm(directory, role, id))) return;
    process.kill(id.pid, kill);
    const deadline = Date.now() + patienceMs;
    while (Date.now() < deadline) {
      if (!(await isSameProcess(id))) return;
      await sleep(20);
    }
  }
  throw new StorageError("internal", `stop ${role} (process ${id.pid})`);
}
