import { checkHost, parseDatasetName, parsePoolName, parsePortal, type HostCheck } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import type { HostRecord } from "../store/model.ts";
import type { Machines } from "./machines.ts";

export interface PoolSpace {
  readonly pool: string;
  readonly availableBytes: bigint;
  readonly usedBytes: bigint;
  readonly sizeBytes: bigint;
  readonly health: string;
}

/** Looks at hosts without changing them, for CheckHost, GetCapacity and metrics. */
export class HostProbes {
  readonly #machines: Machines;

  constructor(machines: Machines) {
    this.#machines = machines;
  }

  check(host: HostRecord, signal: AbortSignal): Promise<readonly HostCheck[]> {
    const needs = {
      roles: host.roles,
      pools: host.pools.map(({ name, parentDataset }) => ({ name: parsePoolName(name), parent: parseDatasetName(parentDataset) })),
      portals: host.portals.map((portal) => parsePortal(portal)),
      overSsh: host.connection.kind === "ssh",
    };
    return checkHost(this.#machines.of(host).executor, needs, { signal });
  }

  /** What `zfs` says is available under the parent dataset, so that quotas and reservations are taken off. */
  async capacity(host: HostRecord, pool: string | undefined, signal: AbortSignal): Promise<readonly PoolSpace[]> {
    const wanted = host.pools.filter(({ name }) => pool === undefined || name === pool);
    return Promise.all(wanted.map(({ name, parentDataset }) => this.#space(host, name, parentDataset, signal)));
  }

  async #space(host: HostRecord, name: string, parentDataset: string, signal: AbortSignal): Promise<PoolSpace> {
    const { zfs } = this.#machines.of(host);
    const pool = await zfs.findPool(parsePoolName(name), { signal });
    if (pool === undefined) {
      throw new StorageError("unavailable", `read the space of pool ${name} on hosts/${host.id}: it is not imported`, {
        details: { host: `hosts/${host.id}`, pool: name },
        hint: "Import it with `zpool import` on that host.",
      });
    }
    // Before the first volume is made the parent is not there yet: then what the pool's root has is what it would have.
    const space =
      (await zfs.findDatasetSpace(parseDatasetName(parentDataset), { signal })) ??
      (await zfs.findDatasetSpace(parseDatasetName(name), { signal }));
    return {
      pool: name,
      availableBytes: space?.availableBytes ?? 0n,
      usedBytes: space?.usedBytes ?? 0n,
      sizeBytes: pool.sizeBytes,
      health: pool.health,
    };
  }
}
