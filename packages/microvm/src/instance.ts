import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StorageError } from "@zfsilo/lib";
import { cacheDirectory } from "./cache.ts";
import { isProcessId, isSameProcess, type ProcessId } from "./process-id.ts";
import type { VmPlan } from "./qemu-command.ts";
import type { RoleName } from "./roles.ts";
import { findVms, isVm, stopVm } from "./vm.ts";

export type MachinePlan = Pick<VmPlan, "acceleration" | "cpus" | "kernel" | "initrd">;

/** One running pair, as its state file tells other processes. */
export interface InstanceState {
  /** The process the pair belongs to; null for one that runs in the background until somebody takes it down. */
  readonly owner: ProcessId | null;
  /** What restarting a machine needs, so that a changed recipe does not disturb a pair that runs. */
  readonly plan: MachinePlan;
  readonly privateKeyPath: string;
  readonly machines: Readonly<Record<RoleName, { readonly process: ProcessId | null; readonly sshPort: number }>>;
}

export function assertInstanceName(name: string): void {
  if (/^[a-z0-9][a-z0-9-]{0,30}$/.test(name)) return;
  throw new StorageError("invalid_argument", `instance name ${JSON.stringify(name)}`, {
    hint: "Use up to 31 lower-case letters, digits and hyphens.",
  });
}

export function instancesDirectory(): string {
  return join(cacheDirectory(), "instances");
}

export function instanceDirectory(name: string): string {
  assertInstanceName(name);
  return join(instancesDirectory(), name);
}

/** Undefined when there is no such instance, or its file does not say what it is. */
export async function readInstance(name: string): Promise<InstanceState | undefined> {
  const text = await readFile(join(instanceDirectory(name), "state.json"), "utf8").catch(() => undefined);
  return text === undefined ? undefined : parseInstance(text);
}

export function parseInstance(text: string): InstanceState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value) || typeof value["privateKeyPath"] !== "string" || !isRecord(value["machines"])) return undefined;
  const { owner, privateKeyPath } = value;
  const plan = parsePlan(value["plan"]);
  const give = parseMachine(value["machines"]["give"]);
  const take = parseMachine(value["machines"]["take"]);
  if (give === undefined || take === undefined || plan === undefined) return undefined;
  if (!(owner === null || isProcessId(owner))) return undefined;
  return { owner, plan, privateKeyPath, machines: { give, take } };
}

/** Replaced whole: a reader never sees half a file. */
export async function writeInstance(name: string, state: InstanceState): Promise<void> {
  const directory = instanceDirectory(name);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, "state.json");
  await writeFile(`${path}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

export async function isAlive(name: string, state: InstanceState): Promise<Readonly<Record<RoleName, boolean>>> {
  const directory = instanceDirectory(name);
  const alive = async (role: RoleName): Promise<boolean> => {
    const id = state.machines[role].process;
    return id !== null && (await isVm(directory, role, id));
  };
  return { give: await alive("give"), take: await alive("take") };
}

/** Ends what runs and removes every file of the instance. */
export async function removeInstance(name: string): Promise<void> {
  const directory = instanceDirectory(name);
  // Looked for, and not taken from the state file: a process that was killed at start had no time to write there.
  await Promise.all((await findVms(directory)).map(({ role, id }) => stopVm(directory, role, id)));
  await rm(directory, { recursive: true, force: true });
}

/** Instances whose owner has died without stopping them are removed; their machines died with it, their files did not. */
export async function sweepAbandoned(log: (line: string) => void): Promise<void> {
  for (const name of await listInstances()) {
    const state = await readInstance(name);
    if (state?.owner === undefined || state.owner === null || (await isSameProcess(state.owner))) continue;
    log(`removing ${name}, left behind by a process that has ended`);
    await removeInstance(name);
  }
}

export async function listInstances(): Promise<readonly string[]> {
  const names = await readdir(instancesDirectory()).catch(() => []);
  return names.filter((name) => /^[a-z0-9][a-z0-9-]{0,30}$/.test(name)).sort();
}

function parsePlan(value: unknown): MachinePlan | undefined {
  if (!isRecord(value)) return undefined;
  const { acceleration, cpus, kernel, initrd } = value;
  if (acceleration !== "kvm" && acceleration !== "tcg") return undefined;
  if (typeof cpus !== "number" || typeof kernel !== "string" || typeof initrd !== "string") return undefined;
  return { acceleration, cpus, kernel, initrd };
}

function parseMachine(value: unknown): { process: ProcessId | null; sshPort: number } | undefined {
  if (!isRecord(value)) return undefined;
  const { process: id, sshPort } = value;
  if (typeof sshPort !== "number" || !(id === null || isProcessId(id))) return undefined;
  return { process: id, sshPort };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
