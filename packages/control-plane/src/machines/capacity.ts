import { largestThickVolume } from "@zfsilo/host";
import type { HostRecord, PoolRef } from "../store/model.ts";
import type { Commitment } from "../store/stores.ts";
import { isUsable, type PoolLook } from "./pool-probe.ts";

/** What a volume is that is to be made. */
export interface VolumeShape {
  readonly sparse: boolean;
  /** Undefined: the default of the host. */
  readonly volblocksize: bigint | undefined;
}

/** Space of one parent dataset. docs/pools.md has the sums in words. */
export interface ParentCapacity {
  readonly pool: string;
  readonly parentDataset: string;
  readonly exists: boolean;
  /** As zpool prints it, or NOT_IMPORTED. */
  readonly health: string;
  /** Why nothing can be made here; undefined when something can. */
  readonly problem: string | undefined;
  readonly sizeBytes: bigint;
  readonly availableBytes: bigint;
  readonly usedBytes: bigint;
  /** 0: none. */
  readonly quotaBytes: bigint;
  readonly overcommitRatio: number;
  readonly volumes: number;
  readonly committedBytes: bigint;
  readonly committableBytes: bigint;
  /** What the pool has for all its parent datasets together. */
  readonly inPool: PoolCapacity;
  readonly layout: PoolLook["layout"];
}

export interface PoolCapacity {
  /** The same wherever the pool is looked at from; empty when it is not imported. */
  readonly guid: string;
  readonly availableBytes: bigint;
  /** What may be promised in all. */
  readonly promisableBytes: bigint;
  readonly promisedBytes: bigint;
}

/** Of a pool whose entry says none. Decision 42: sparse volumes are made because they will not all be full. */
export const defaultOvercommitRatio = 10;

/** A volume that is being made and that no row or pool may show yet. */
export interface Underway {
  readonly parent: string;
  readonly capacityBytes: bigint;
  readonly sparse: boolean;
}

/** The pool's own metadata grows with every dataset, and with every one that could not be made. */
const poolMetadataBytes = 1n << 20n;
/** volblocksize of a volume that was given none: 8K up to ZFS 2.1, 16K since 2.2. CreateVolume rounds sizes so that both hold them. */
const defaultBlocks = [8192n, 16_384n] as const;

/** Pure: the parent datasets of a host as they stand, from what its pools show and what is promised. */
export function parentCapacities(
  host: Pick<HostRecord, "id" | "pools">,
  looks: readonly PoolLook[],
  commitments: readonly Commitment[],
  underway: readonly Underway[] = [],
): readonly ParentCapacity[] {
  const onHost = commitments.filter(({ hostId }) => hostId === host.id);
  return looks.flatMap((look) => {
    const within = ({ parent }: { readonly parent: string }): boolean => parent === look.name || parent.startsWith(`${look.name}/`);
    const begun = underway.filter(within);
    const free = atLeastZero((look.spaces.get(look.name)?.availableBytes ?? 0n) - thickBytes(begun));
    const parts = host.pools.filter(({ name }) => name === look.name).map((ref) => parentSpace(ref, look, onHost, begun));
    // Parents share the pool's space, and what was promised under datasets that are no longer parents counts as well.
    const usable = (look.spaces.get(look.name)?.availableBytes ?? 0n) + parts.reduce((sum, { usedBytes }) => sum + usedBytes, 0n);
    const ratio = Math.max(...parts.map(({ overcommitRatio }) => overcommitRatio));
    const promised = sum(onHost.filter(within).map(({ bytes }) => bytes)) + sum(begun.map(({ capacityBytes }) => capacityBytes));
    const inPool = { guid: look.facts?.guid ?? "", availableBytes: free, promisableBytes: times(ratio, usable), promisedBytes: promised };
    return parts.map((part) => ({
      ...part,
      inPool,
      committableBytes: atLeastZero(least(part.committableBytes, inPool.promisableBytes - promised)),
    }));
  });
}

function parentSpace(
  ref: PoolRef,
  look: PoolLook,
  commitments: readonly Commitment[],
  inPool: readonly Underway[],
): Omit<ParentCapacity, "inPool"> {
  const { facts, spaces, layout } = look;
  const here = commitments.find(({ parent }) => parent === ref.parentDataset);
  const begun = inPool.filter(({ parent }) => parent === ref.parentDataset);
  const own = spaces.get(ref.parentDataset);
  // Before the first volume is made the parent is not there: then what its pool's root has is what it would have.
  const free = (own ?? spaces.get(look.name))?.availableBytes ?? 0n;
  const usedBytes = own?.usedBytes ?? 0n;
  const quotas = [ref.quotaBytes ?? 0n, own?.quotaBytes ?? 0n].filter((quota) => quota > 0n);
  const quotaBytes = quotas.length === 0 ? 0n : quotas.reduce(least);
  const quotaLeft = quotaBytes === 0n ? free : quotaBytes - usedBytes;
  const overcommitRatio = ref.overcommitRatio ?? defaultOvercommitRatio;
  const committedBytes = (here?.bytes ?? 0n) + sum(begun.map(({ capacityBytes }) => capacityBytes));
  const left = atLeastZero(least(free, quotaLeft));
  return {
    pool: ref.name,
    parentDataset: ref.parentDataset,
    exists: own !== undefined,
    health: facts?.health ?? "NOT_IMPORTED",
    problem: problemOf(look),
    sizeBytes: facts?.sizeBytes ?? 0n,
    availableBytes: atLeastZero(least(free - thickBytes(inPool), quotaLeft - thickBytes(begun))),
    usedBytes,
    quotaBytes,
    overcommitRatio,
    volumes: (here?.volumes ?? 0) + begun.length,
    committedBytes,
    committableBytes: times(overcommitRatio, left + usedBytes) - committedBytes,
    layout,
  };
}

/** What thick volumes will reserve that the pool may not know of yet. */
function thickBytes(underway: readonly Underway[]): bigint {
  return sum(underway.filter(({ sparse }) => !sparse).map(({ capacityBytes }) => capacityBytes));
}

function problemOf(look: PoolLook): string | undefined {
  if (look.facts === undefined) return "the pool is not imported";
  if (!isUsable(look)) return `the pool is ${look.facts.health}`;
  return look.facts.readonly ? "the pool is imported read-only" : undefined;
}

/** How much can be made under a parent in all, by volumes of this kind. */
export function creatableBytes(parent: ParentCapacity, { sparse }: VolumeShape): bigint {
  if (parent.problem !== undefined) return 0n;
  return sparse ? parent.committableBytes : least(parent.availableBytes, parent.committableBytes);
}

/** The largest volume that can be made under a parent. */
export function largestVolume(parent: ParentCapacity, { sparse, volblocksize }: VolumeShape): bigint {
  if (parent.problem !== undefined) return 0n;
  const unit = volblocksize ?? defaultBlocks[1];
  // A sparse volume larger than its pool helps nobody, whatever may be promised.
  const promise = least(parent.committableBytes, sparse ? parent.sizeBytes : parent.committableBytes);
  const promised = (promise / unit) * unit;
  if (sparse) return promised;
  const blocks = volblocksize === undefined ? defaultBlocks : [volblocksize];
  return least(promised, largestThickVolume(parent.availableBytes - poolMetadataBytes, unit, blocks, parent.layout));
}

/** Parents of one host. */
export type HostParents = readonly ParentCapacity[];

/** Together: parents of one pool share its space, also where two hosts have that pool. */
export function creatableInAll(hosts: readonly HostParents[], shape: VolumeShape): bigint {
  const pools = new Map<string, HostParents[]>();
  for (const [index, parents] of hosts.entries()) {
    for (const name of new Set(parents.map(({ pool }) => pool))) {
      const group = parents.filter(({ pool }) => pool === name);
      const guid = group[0]?.inPool.guid ?? "";
      const key = guid === "" ? `${index} ${name}` : guid;
      pools.set(key, [...(pools.get(key) ?? []), group]);
    }
  }
  return sum([...pools.values()].map((groups) => creatableInPool(groups, shape)));
}

/** `groups`: the parents of one pool, by host. */
function creatableInPool(groups: readonly HostParents[], shape: VolumeShape): bigint {
  const each = sum(groups.flat().map((parent) => creatableBytes(parent, shape)));
  const views = groups.flatMap(([first]) => first?.inPool ?? []);
  const promisable = views.map(({ promisableBytes }) => promisableBytes).reduce(most, 0n);
  const together = least(each, atLeastZero(promisable - sum(views.map(({ promisedBytes }) => promisedBytes))));
  // Looked at twice, the free space may have changed in between.
  return shape.sparse ? together : least(together, views.map(({ availableBytes }) => availableBytes).reduce(least));
}

function sum(values: readonly bigint[]): bigint {
  return values.reduce((all, value) => all + value, 0n);
}

export function times(ratio: number, bytes: bigint): bigint {
  return (bytes * BigInt(Math.round(ratio * 1000))) / 1000n;
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function most(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function atLeastZero(value: bigint): bigint {
  return value < 0n ? 0n : value;
}
