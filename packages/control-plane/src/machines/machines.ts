import {
  BlockDevices,
  Filesystems,
  Freezer,
  Iscsi,
  LioTarget,
  Mounts,
  parseHostPath,
  Zfs,
  ZfsClones,
  ZfsCopies,
  ZfsRanges,
  ZfsKeys,
  ZfsSnapshots,
  Zpools,
  type HostPath,
} from "@zfsilo/host";
import type { Executor } from "@zfsilo/command";
import type { HostId } from "@zfsilo/lib";
import type { HostRecord } from "../store/model.ts";
import type { HostStore } from "../store/stores.ts";

/** A host with the tools on it. */
export interface Machine {
  readonly executor: Executor;
  readonly zfs: Zfs;
  readonly snapshots: ZfsSnapshots;
  readonly clones: ZfsClones;
  readonly copies: ZfsCopies;
  readonly ranges: ZfsRanges;
  readonly zpools: Zpools;
  readonly keys: ZfsKeys;
  readonly lio: LioTarget;
  readonly iscsi: Iscsi;
  readonly devices: BlockDevices;
  readonly filesystems: Filesystems;
  readonly mounts: Mounts;
  readonly freezer: Freezer;
}

interface Kept {
  /** The connection it was made for, so that a changed one replaces it. */
  readonly connection: string;
  readonly machine: Machine;
}

/** The machines behind host records, each with one kept connection. */
export class Machines {
  readonly #hosts: HostStore;
  readonly #connect: (host: HostRecord) => Executor;
  readonly #kept = new Map<HostId, Kept>();

  constructor(hosts: HostStore, connect: (host: HostRecord) => Executor) {
    this.#hosts = hosts;
    this.#connect = connect;
  }

  /** Throws not_found for a host that is not known. Does not connect: the first command does. */
  async get(id: HostId): Promise<Machine> {
    return this.of(await this.#hosts.get(id));
  }

  of(host: HostRecord): Machine {
    const connection = JSON.stringify([host.connection, host.allowedRoots]);
    const kept = this.#kept.get(host.id);
    if (kept?.connection === connection) return kept.machine;
    const roots = host.allowedRoots.map((root) => parseHostPath(root, "host.allowed_roots"));
    const machine = machineOn(this.#connect(host), roots);
    this.#kept.set(host.id, { connection, machine });
    void kept?.machine.executor.close();
    return machine;
  }

  /** A changed connection is used from the next `of` on; nothing has to be done before. */
  hostChanged(host: HostRecord): void {
    this.of(host);
  }

  /** Drops the connection of a host that is no longer known. */
  hostRemoved({ id }: Pick<HostRecord, "id">): void {
    const kept = this.#kept.get(id);
    this.#kept.delete(id);
    void kept?.machine.executor.close();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#kept.values()].map(({ machine }) => machine.executor.close()));
    this.#kept.clear();
  }
}

/** Mounts stay below `roots`, also when a path leads elsewhere through a symbolic link. */
export function machineOn(executor: Executor, roots: readonly HostPath[]): Machine {
  const iscsi = new Iscsi(executor);
  return {
    executor,
    zfs: new Zfs(executor),
    snapshots: new ZfsSnapshots(executor),
    clones: new ZfsClones(executor),
    copies: new ZfsCopies(executor),
    ranges: new ZfsRanges(executor),
    zpools: new Zpools(executor),
    keys: new ZfsKeys(executor),
    lio: new LioTarget(executor),
    iscsi,
    devices: new BlockDevices(executor, iscsi),
    filesystems: new Filesystems(executor),
    mounts: new Mounts(executor, { roots }),
    freezer: new Freezer(executor, { roots }),
  };
}
