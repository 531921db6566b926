import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { StorageError } from "@zfsilo/lib";
import { lockFile } from "./cache.ts";
import {
  assertInstanceName,
  instanceDirectory,
  instancesDirectory,
  isAlive,
  readInstance,
  removeInstance,
  sweepAbandoned,
  writeInstance,
  type InstanceState,
} from "./instance.ts";
import type { BuildOptions } from "./image.ts";
import { QemuMachine, type Machine } from "./machine.ts";
import { freePorts } from "./network.ts";
import { isSameProcess, thisProcess, type ProcessId } from "./process-id.ts";
import { roleNames, roles, type RoleName } from "./roles.ts";
import { copyDisks, ensureSavedPair, writeKnownHosts, type SavedPair } from "./saved-pair.ts";
import type { Lifetime } from "./vm.ts";

export interface Machines {
  readonly give: Machine;
  readonly take: Machine;
  /** Both back to their saved state. */
  restore(): Promise<void>;
  /** Ends both machines and removes their files. */
  stop(): Promise<void>;
}

export interface BringUpOptions extends BuildOptions {
  /** Pairs of different names run side by side. */
  readonly instance: string;
  /** Default `owned`: the machines end with this process. `background` ones wait for `takeDown`. */
  readonly lifetime?: Lifetime;
}

/**
 * A fresh pair, a few seconds away once the cache is filled (the first call on a machine builds the image and boots:
 * minutes). A pair of the same name that nobody owns any more is replaced; one that runs is refused.
 */
export async function bringUp(options: BringUpOptions): Promise<Machines> {
  assertInstanceName(options.instance);
  await sweepAbandoned(options.log);
  const saved = await ensureSavedPair(options);
  await mkdir(instancesDirectory(), { recursive: true, mode: 0o700 });
  await using _lock = await lockFile(join(instancesDirectory(), `${options.instance}.lock`), options);
  await refuseRunning(options.instance);
  await removeInstance(options.instance);
  return await startPair(saved, options);
}

/** The machines of a pair that runs in the background, or undefined when it does not run. */
export async function findRunning(instance: string, signal: AbortSignal): Promise<Machines | undefined> {
  const state = await readInstance(instance);
  if (state === undefined) return undefined;
  const alive = await isAlive(instance, state);
  if (!alive.give || !alive.take) return undefined;
  return new Pair(instance, state, "background", signal);
}

async function startPair(saved: SavedPair, options: BringUpOptions): Promise<Machines> {
  const lifetime = options.lifetime ?? "owned";
  const directory = instanceDirectory(options.instance);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const byHand = lifetime === "background";
  const [give = 0, take = 0] = await freePorts(roleNames.map((role) => (byHand ? roles[role].usualSshPort : undefined)));
  const state: InstanceState = {
    owner: byHand ? null : await thisProcess(),
    plan: saved.plan,
    privateKeyPath: saved.image.privateKeyPath,
    machines: { give: { process: null, sshPort: give }, take: { process: null, sshPort: take } },
  };
  await writeInstance(options.instance, state);
  await writeKnownHosts(directory, saved.image, { give, take });
  options.log("restoring give and take");
  await copyDisks(saved.directory, directory);
  const pair = new Pair(options.instance, state, lifetime, options.signal);
  try {
    await pair.restore();
  } catch (error) {
    await pair.stop();
    throw error;
  }
  return pair;
}

async function refuseRunning(instance: string): Promise<void> {
  const state = await readInstance(instance);
  if (state === undefined) return;
  const alive = await isAlive(instance, state);
  if (!alive.give && !alive.take) return;
  if (state.owner !== null && !(await isSameProcess(state.owner))) return;
  throw new StorageError("already_exists", `start the machines of ${instance}`, {
    cause: new Error("they are running"),
    hint: `Take them down first: npm run microvm -- down --instance ${instance}`,
  });
}

class Pair implements Machines {
  readonly give: QemuMachine;
  readonly take: QemuMachine;
  readonly #instance: string;
  #state: InstanceState;
  /** State files are written one after another: both machines may be restored at once. */
  #writing: Promise<void> = Promise.resolve();

  constructor(instance: string, state: InstanceState, lifetime: Lifetime, signal: AbortSignal) {
    const directory = instanceDirectory(instance);
    const machine = (role: RoleName): QemuMachine =>
      new QemuMachine({
        directory,
        plan: { ...state.plan, role, sshPort: state.machines[role].sshPort },
        ssh: {
          host: "127.0.0.1",
          port: state.machines[role].sshPort,
          user: "root",
          privateKeyPath: state.privateKeyPath,
          knownHostsPath: join(directory, "known_hosts"),
        },
        lifetime,
        process: state.machines[role].process,
        onProcess: (id) => this.#record(role, id),
        signal,
      });
    this.#instance = instance;
    this.#state = state;
    this.give = machine("give");
    this.take = machine("take");
  }

  async restore(): Promise<void> {
    await Promise.all([this.give.restore(), this.take.restore()]);
  }

  async stop(): Promise<void> {
    await Promise.all([this.give.stop(), this.take.stop()]);
    await removeInstance(this.#instance);
  }

  #record(role: RoleName, process: ProcessId | null): Promise<void> {
    const machine = { ...this.#state.machines[role], process };
    this.#state = { ...this.#state, machines: { ...this.#state.machines, [role]: machine } };
    const state = this.#state;
    this.#writing = this.#writing.then(() => writeInstance(this.#instance, state));
    return this.#writing;
  }
}
