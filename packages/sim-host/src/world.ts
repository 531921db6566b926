import type { Executor } from "@zfsilo/command";
import { install, installInitiator, powerCycle } from "./boot.ts";
import { CallLog } from "./call-log.ts";
import { deviceByPath, holdDevice, releaseDevice } from "./device.ts";
import { UnmodelledError } from "./failure.ts";
import { Faults } from "./faults.ts";
import { Machine } from "./machine.ts";
import { Model, type PoolHealth } from "./model.ts";
import { SimExecutor } from "./sim-executor.ts";
import { picture, type Picture } from "./snapshot.ts";
import { Store } from "./store.ts";
import { newDataset } from "./zfs/create.ts";
import { shelfOf } from "./zfs/pool-export.ts";
import { emptySpace, usage } from "./zfs/space.ts";

export interface SimWorldOptions {
  /** Where the state is kept; in memory alone when absent. */
  readonly file?: string;
  /** Milliseconds since the epoch, default Date.now. */
  readonly now?: () => number;
}

export interface SimMachine {
  readonly name: string;
  readonly pools?: readonly { readonly name: string; readonly sizeBytes: bigint }[];
  /** On the storage network, IPv4 or IPv6. */
  readonly addresses?: readonly string[];
  /** Written to /etc/iscsi/initiatorname.iscsi; iscsid runs on machines that have one. */
  readonly initiatorName?: string;
  /** Programs that are not installed. Not kept in the state. */
  readonly missingPrograms?: readonly string[];
}

/** Machines that are not there: their disks, kernels and the network between them, behind one Executor each. */
export class SimWorld {
  readonly faults = new Faults();
  readonly #model: Model;
  readonly #now: () => number;
  readonly #logs = new Map<string, CallLog>();
  readonly #missing = new Map<string, readonly string[]>();

  private constructor(model: Model, now: () => number) {
    this.#model = model;
    this.#now = now;
  }

  static open(options: SimWorldOptions = {}): Promise<SimWorld> {
    // Inside `then`, so that a file that cannot be read rejects and does not throw.
    return Promise.resolve().then(() => new SimWorld(new Model(Store.open(options.file)), options.now ?? Date.now));
  }

  /** Adds what the state does not have yet: the machine, its pools, its addresses. */
  addMachine({ name, pools = [], addresses = [], initiatorName, missingPrograms = [] }: SimMachine): void {
    if (!/^[A-Za-z0-9_.-]+$/.test(name)) throw new UnmodelledError(`a machine called ${JSON.stringify(name)}`);
    this.#missing.set(name, missingPrograms);
    const machine = new Machine(name, this.#model, this.#now);
    const { machines } = this.#model;
    if (!machines.has(name)) {
      const udev = { missesBeforeLink: 0, linksToLose: 0 };
      machines.put(name, { addresses: [], online: true, cutFrom: [], initiator: false, udev });
      install(machine);
    }
    const facts = machines.edit(name);
    if (facts?.initiator === false && initiatorName !== undefined) {
      facts.initiator = true;
      installInitiator(machine, initiatorName);
    }
    for (const address of addresses) {
      if (facts?.addresses.includes(address) === false) facts.addresses.push(address);
      this.#model.machineByAddress.put(address, { machine: name });
    }
    for (const pool of pools) addPool(machine, pool.name, pool.sizeBytes);
    this.#model.store.commit();
  }

  executor(name: string): Executor {
    const machine = this.#machine(name);
    return new SimExecutor({ machine, faults: this.faults, log: this.calls(name), missing: this.#missing.get(name) ?? [] });
  }

  /** What was asked of a machine since the world was opened. */
  calls(name: string): CallLog {
    const log = this.#logs.get(name) ?? new CallLog();
    this.#logs.set(name, log);
    return log;
  }

  powerCycle(name: string): void {
    powerCycle(this.#machine(name));
    this.#model.store.commit();
  }

  /** A machine that is off the network: executors cannot reach it, nor can other machines. */
  setOnline(name: string, online: boolean): void {
    this.#edit(name, (facts) => {
      facts.online = online;
    });
  }

  /** Gives a machine these addresses on the storage network and no others. What listens at one that is gone stays, unreachable. */
  setAddresses(name: string, addresses: readonly string[]): void {
    this.#edit(name, (facts) => {
      for (const address of facts.addresses) this.#model.machineByAddress.delete(address);
      for (const address of addresses) this.#model.machineByAddress.put(address, { machine: name });
      facts.addresses = [...addresses];
    });
  }

  /** Another name for the initiator, as when the machine is installed anew. Sessions keep the one they were made with. */
  setInitiatorName(name: string, initiatorName: string): void {
    installInitiator(this.#machine(name), initiatorName);
    this.#model.store.commit();
  }

  /** Cuts or mends the storage network between two machines. Executors still reach both. */
  cut(a: string, b: string, isCut = true): void {
    for (const [name, other] of [[a, b], [b, a]] as const) {
      this.#edit(name, (facts) => {
        facts.cutFrom = facts.cutFrom.filter((peer) => peer !== other);
        if (isCut) facts.cutFrom.push(other);
      });
    }
  }

  /** How udev treats zvols made from now on: links that come late (after so many looks, or `udevadm settle`) or never. */
  setUdev(name: string, udev: { readonly missesBeforeLink?: number; readonly linksToLose?: number }): void {
    this.#edit(name, (facts) => {
      facts.udev = { missesBeforeLink: udev.missesBeforeLink ?? 0, linksToLose: udev.linksToLose ?? 0 };
    });
  }

  /** Takes a device of a pool away: half of a mirror (it goes on, DEGRADED), or all (its I/O is SUSPENDED); or brings all back. */
  setPoolHealth(name: string, pool: string, health: PoolHealth): void {
    const found = this.#model.pools.edit(this.#machine(name).at(pool));
    if (found === undefined) throw new UnmodelledError(`a pool ${pool} on ${name}`);
    found.health = health;
    this.#model.store.commit();
  }

  /** Activates an LVM volume that lies on a device, as udev does on seeing one there; or deactivates it. */
  setVolumeGroup(name: string, device: string, volume: string, active = true): void {
    const machine = this.#machine(name);
    const node = deviceByPath(machine, device);
    if (node === undefined) throw new UnmodelledError(`a device ${device} on ${name}`);
    if (active) holdDevice(machine, node, `dm:${volume}`);
    else releaseDevice(machine, node, `dm:${volume}`);
    this.#model.store.commit();
  }

  /** Damages the filesystem on a volume, so that mounting fails and checking finds errors. */
  damageFilesystem(name: string, dataset: string): void {
    const content = this.#model.datasets.get(this.#machine(name).at(dataset))?.content;
    const found = content === undefined ? undefined : this.#model.contents.edit(content);
    if (found?.fs === undefined) throw new UnmodelledError(`damage to ${dataset}, which holds no filesystem`);
    found.fs.damaged = true;
    this.#model.store.commit();
  }

  /** Everything that means something to somebody outside, for comparing the world before and after. */
  snapshot(): Picture {
    const names = this.#model.store.children("machine");
    const pictures = Object.fromEntries(names.map((name) => [name, picture(this.#machine(name))]));
    this.#model.store.commit();
    return pictures;
  }

  /** Documents looked at so far: a measure of what commands cost. */
  get reads(): number {
    return this.#model.store.reads;
  }

  close(): Promise<void> {
    this.#model.store.close();
    return Promise.resolve();
  }

  #machine(name: string): Machine {
    if (!this.#model.machines.has(name)) throw new UnmodelledError(`a machine called ${name}: add it first`);
    return new Machine(name, this.#model, this.#now);
  }

  #edit(name: string, change: (facts: Machine["facts"]) => void): void {
    const facts = this.#model.machines.edit(name);
    if (facts === undefined) throw new UnmodelledError(`a machine called ${name}: add it first`);
    change(facts);
    this.#model.store.commit();
  }
}

function addPool(machine: Machine, name: string, size: bigint): void {
  const { model } = machine;
  if (model.pools.has(machine.at(name)) || model.pools.has(shelfOf(machine).at(name))) return;
  const root = { ...newDataset(machine, "filesystem", {}), space: emptySpace(24_576n) };
  model.pools.put(machine.at(name), { size: size.toString(), guid: machine.newGuid(), allocated: usage(root).total.toString() });
  model.datasets.put(machine.at(name), root);
}
