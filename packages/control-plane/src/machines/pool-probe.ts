import { parseDatasetName, parsePoolName, stripesOf, type DatasetSpace, type PoolFacts, type PoolLayout, type PoolStatus } from "@zfsilo/host";
import type { HostRecord } from "../store/model.ts";
import type { Machines } from "./machines.ts";

/** One pool of a host's record, as it is now. */
export interface PoolLook {
  readonly name: string;
  /** Undefined: not imported. */
  readonly facts: PoolFacts | undefined;
  readonly layout: PoolLayout;
  /** Of the pool's root and of those parent datasets that exist, by name. Empty where it cannot be read. */
  readonly spaces: ReadonlyMap<string, DatasetSpace>;
}

/** A pool in one of these states holds still: whatever asks zfs about it may wait for ever. */
const still: ReadonlySet<string> = new Set(["SUSPENDED", "FAULTED", "UNAVAIL", "REMOVED", "OFFLINE"]);

export function isUsable({ facts }: Pick<PoolLook, "facts">): boolean {
  return facts !== undefined && !still.has(facts.health);
}

/** Reads pools: two commands a host, and one more for each pool whose devices are not known yet. */
export class PoolProbe {
  readonly #machines: Machines;
  /** By guid and size: a pool that gets other devices gets another size. */
  readonly #layouts = new Map<string, PoolLayout>();

  constructor(machines: Machines) {
    this.#machines = machines;
  }

  /** The pools of the record, or the one that is named. Throws when the host does not answer. */
  async look(host: HostRecord, only: string | undefined, signal: AbortSignal): Promise<readonly PoolLook[]> {
    const names = [...new Set(host.pools.map(({ name }) => name))].filter((name) => only === undefined || name === only);
    const imported = await this.#machines.of(host).zpools.list({ signal });
    return Promise.all(
      names.map(async (name): Promise<PoolLook> => {
        const facts = imported.find((pool) => pool.name === name);
        if (facts === undefined || !isUsable({ facts })) return { name, facts, layout: { stripes: [], ashift: 0 }, spaces: new Map() };
        const parents = host.pools.filter((pool) => pool.name === name).map(({ parentDataset }) => parseDatasetName(parentDataset));
        const root = parseDatasetName(name);
        const [layout, spaces] = await Promise.all([
          this.#layout(host, facts, signal),
          this.#machines.of(host).zpools.spaces([root, ...parents.filter((parent) => parent !== root)], { signal }),
        ]);
        return { name, facts, layout, spaces };
      }),
    );
  }

  /** Devices, scrub and errors of an imported pool. */
  status(host: HostRecord, pool: string, signal: AbortSignal): Promise<PoolStatus> {
    return this.#machines.of(host).zpools.status(parsePoolName(pool), { signal });
  }

  async #layout(host: HostRecord, { name, guid, sizeBytes, ashift }: PoolFacts, signal: AbortSignal): Promise<PoolLayout> {
    const key = `${guid} ${sizeBytes}`;
    const known = this.#layouts.get(key);
    if (known !== undefined) return known;
    const layout = { stripes: stripesOf((await this.status(host, name, signal)).root), ashift };
    this.#layouts.set(key, layout);
    return layout;
  }
}
