import { parseDatasetName, parsePoolName, stripesOf, type DatasetName, type DatasetSpace, type PoolFacts, type PoolLayout, type PoolStatus } from "@zfsilo/host";
import type { HostId } from "@zfsilo/lib";
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
const still: readonly string[] = ["SUSPENDED", "FAULTED", "UNAVAIL", "REMOVED", "OFFLINE"];

export function isUsable({ facts }: Pick<PoolLook, "facts">): boolean {
  return facts !== undefined && !still.includes(facts.health);
}

/** Reads pools: one round trip a host, and one more for each pool whose devices are not known yet. */
export class PoolProbe {
  readonly #machines: Machines;
  /** By guid and size: a pool that gets other devices gets another size. */
  readonly #layouts = new Map<string, PoolLayout>();
  /** The last look at each host, and for which pools of its record that was. */
  readonly #last = new Map<HostId, { readonly pools: string; readonly at: number; readonly looks: readonly PoolLook[] }>();

  constructor(machines: Machines) {
    this.#machines = machines;
  }

  /** The pools of the record, or the one that is named. Throws when the host does not answer. */
  async look(host: HostRecord, only: string | undefined, signal: AbortSignal): Promise<readonly PoolLook[]> {
    const names = [...new Set(host.pools.map(({ name }) => name))].filter((name) => only === undefined || name === only);
    const [first, ...others] = names.flatMap((name) => datasetsOf(host, name));
    if (first === undefined) return [];
    const { zpools } = this.#machines.of(host);
    const at = performance.now();
    const { pools, spaces } = await zpools.survey([first, ...others], still, { signal });
    const looks = await Promise.all(names.map((name) => this.#lookAt(host, name, pools, spaces, signal)));
    if (only === undefined) this.#last.set(host.id, { pools: printOf(host), at, looks });
    return looks;
  }

  /** The last look at all pools of the record, if it is not older than this. */
  recent(host: HostRecord, notOlderMs: number): readonly PoolLook[] | undefined {
    const last = this.#last.get(host.id);
    return last?.pools === printOf(host) && performance.now() - last.at <= notOlderMs ? last.looks : undefined;
  }

  async #lookAt(host: HostRecord, name: string, pools: readonly PoolFacts[], all: PoolLook["spaces"] | undefined, signal: AbortSignal): Promise<PoolLook> {
    const facts = pools.find((pool) => pool.name === name);
    if (facts === undefined || !isUsable({ facts })) return { name, facts, layout: { stripes: [], ashift: 0 }, spaces: new Map() };
    const [root, ...parents] = datasetsOf(host, name);
    const [layout, found] = await Promise.all([
      this.#layout(host, facts, signal),
      // Another pool of the host holds still: this one is asked by itself.
      all ?? this.#machines.of(host).zpools.spaces([root, ...parents], { signal }),
    ]);
    return { name, facts, layout, spaces: new Map([root, ...parents].flatMap((dataset) => {
      const space = found.get(dataset);
      return space === undefined ? [] : [[dataset, space] as const];
    })) };
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

/** A pool's root and the parents of volumes in it. */
function datasetsOf(host: HostRecord, pool: string): readonly [DatasetName, ...DatasetName[]] {
  const root = parseDatasetName(pool);
  const parents = host.pools.filter(({ name }) => name === pool).map(({ parentDataset }) => parseDatasetName(parentDataset));
  return [root, ...parents.filter((parent) => parent !== root)];
}

function printOf({ connection, pools }: HostRecord): string {
  return JSON.stringify([connection, pools], (_name, value: unknown) => (typeof value === "bigint" ? value.toString() : value));
}
