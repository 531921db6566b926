import { setTimeout as sleep } from "node:timers/promises";
import { errorChain, invalidField, StorageError, type HostId, type VolumeId } from "@zfsilo/lib";
import { isSimulated, unnamedTargets } from "../host/simulated.ts";
import { parentCapacities, type ParentCapacity, type Underway, type VolumeShape } from "../machines/capacity.ts";
import type { PoolLook, PoolProbe } from "../machines/pool-probe.ts";
import type { HostRecord, PoolRef, VolumeRecord } from "../store/model.ts";
import type { Commitment, HostStore, VolumeStore } from "../store/stores.ts";
import { nameOf, rank, type Candidate, type Ranked } from "./placement.ts";

/** Where a volume is to go. What is empty or undefined is left to placement. */
export interface PlaceRequest {
  readonly id: VolumeId;
  readonly hostId: HostId | undefined;
  readonly pool: string;
  readonly parentDataset: string;
  readonly hostLabels: Readonly<Record<string, string>>;
  readonly capacityBytes: bigint;
  readonly shape: VolumeShape;
}

export interface Place {
  readonly host: HostRecord;
  readonly pool: PoolRef;
  /** Best first. Empty when the request left nothing to choose. */
  readonly candidates: readonly Ranked[];
  /** From here on the volume is counted by its row, and by the pool. */
  release(): void;
}

export interface PlacerOptions {
  readonly hosts: HostStore;
  readonly volumes: Pick<VolumeStore, "commitments">;
  readonly pools: Pick<PoolProbe, "look" | "recent">;
}

/**
 * A volume that grows stays where it is: what its pool had a minute ago, and what was promised since then, tells whether it may.
 * Whether the pool has the space now is for ZFS to say.
 */
const recentMs = 60_000;

/** Among several hosts, one that takes longer to tell about its pools gets no volume. One that was named is waited for. */
const lookLimitMs = 10_000;

interface Begun extends Underway {
  readonly hostId: HostId;
  /** Its row, once there, is not to be counted beside this. Undefined for the growth of a volume. */
  readonly volumeId: VolumeId | undefined;
}

interface Spot {
  readonly host: HostRecord;
  readonly pool: PoolRef;
}

/**
 * Finds room for volumes. What was found for one counts for the next from that instant, before any row or pool shows it: a
 * hundred calls at once do not all go to the emptiest pool, nor fill it twice.
 */
export class Placer {
  readonly #options: PlacerOptions;
  readonly #begun = new Set<Begun>();
  /** A look that is under way serves all who come meanwhile: a hundred calls at once do not ask a host a hundred times. */
  readonly #looks = new Map<HostId, Promise<HostLook>>();

  constructor(options: PlacerOptions) {
    this.#options = options;
  }

  async place(request: PlaceRequest): Promise<Place> {
    const spots = await this.#spots(request);
    const [only, ...others] = spots;
    if (only !== undefined && others.length === 0 && request.hostId !== undefined) return await this.#takeOnly(only, request);
    return await this.#look(spots, (seen) => {
      const ranked = rank(request, seen.map(({ candidate }) => candidate));
      const best = ranked[0];
      if (best === undefined || best.score === 0) throw noPlace(request, ranked);
      const spot = spots.find(({ host, pool }) => host.id === best.hostId && pool.parentDataset === best.parentDataset);
      if (spot === undefined) throw noPlace(request, ranked);
      return { ...spot, candidates: ranked, release: this.#begin(spot, request.id, request) };
    });
  }

  /** Room for a volume to grow to `capacityBytes`. What it has is promised already. */
  async grow(volume: VolumeRecord, capacityBytes: bigint): Promise<() => void> {
    const parentDataset = volume.dataset.slice(0, volume.dataset.lastIndexOf("/"));
    const host = await this.#options.hosts.get(volume.hostId);
    const pool = host.pools.find((ref) => ref.parentDataset === parentDataset);
    // Its parent is no longer one of the host's: nobody said what may be promised there.
    if (pool === undefined) return () => undefined;
    const more = { capacityBytes: capacityBytes - volume.capacityBytes, shape: { sparse: volume.sparse, volblocksize: undefined } };
    return await this.#look([{ host, pool }], ([seen]) => {
      requireRoom({ host, pool }, seen, more.capacityBytes, capacityBytes);
      return this.#begin({ host, pool }, undefined, more);
    }, recentMs);
  }

  /** A place that was named is used, or refused for what is wrong with it. How much space a thick volume finds is for ZFS to say. */
  async #takeOnly(spot: Spot, request: PlaceRequest): Promise<Place> {
    return await this.#look([spot], ([seen]) => {
      requireRoom(spot, seen, request.capacityBytes, request.capacityBytes);
      return { ...spot, candidates: [], release: this.#begin(spot, request.id, request) };
    });
  }

  async #spots({ hostId, pool, parentDataset }: PlaceRequest): Promise<readonly Spot[]> {
    const all = hostId === undefined ? unnamedTargets(await this.#options.hosts.all()) : [await this.#options.hosts.get(hostId)];
    const fits = (ref: PoolRef): boolean =>
      (pool === "" || ref.name === pool) && (parentDataset === "" || ref.parentDataset === parentDataset);
    const spots = all.flatMap((host) => host.pools.filter(fits).map((ref) => ({ host, pool: ref })));
    if (spots.length > 0) return spots;
    throw noSpot(all, hostId, pool, parentDataset);
  }

  /** Looks, and decides in the same turn of the event loop in which it learns what is promised. */
  async #look<T>(spots: readonly Spot[], decide: (seen: readonly Seen[]) => T, notOlderMs = 0): Promise<T> {
    const hosts = [...new Map(spots.map(({ host }) => [host.id, host])).values()];
    const look = (host: HostRecord) => (hosts.length === 1 ? this.#lookAt(host, notOlderMs) : this.#lookWithin(host, lookLimitMs));
    const looks = new Map(await Promise.all(hosts.map(async (host) => [host.id, await look(host)] as const)));
    const known = [...this.#begun];
    const commitments = await this.#options.volumes.commitments(known.flatMap(({ volumeId }) => volumeId ?? []));
    // What ended while the database was read was not counted by it; what began meanwhile counts as well.
    const begun = [...new Set([...known, ...this.#begun])];
    return decide(spots.map((spot) => seenAt(spot, looks.get(spot.host.id), commitments, begun)));
  }

  async #lookWithin(host: HostRecord, limitMs: number): Promise<HostLook> {
    const failure = new StorageError("timeout", `read the pools of hosts/${host.id}: no answer within ${limitMs / 1000} s`);
    return await Promise.race([this.#lookAt(host), sleep(limitMs, { pools: [], failure }, { ref: false })]);
  }

  #lookAt(host: HostRecord, notOlderMs = 0): Promise<HostLook> {
    const pools = notOlderMs === 0 ? undefined : this.#options.pools.recent(host, notOlderMs);
    if (pools !== undefined) return Promise.resolve({ pools, failure: undefined });
    const underWay = this.#looks.get(host.id);
    if (underWay !== undefined) return underWay;
    const look = this.#lookNow(host).finally(() => this.#looks.delete(host.id));
    this.#looks.set(host.id, look);
    return look;
  }

  /** Bounded by the limits of its commands. */
  async #lookNow(host: HostRecord): Promise<HostLook> {
    try {
      return { pools: await this.#options.pools.look(host, undefined, new AbortController().signal), failure: undefined };
    } catch (failure) {
      return { pools: [], failure };
    }
  }

  #begin({ host, pool }: Spot, volumeId: VolumeId | undefined, { capacityBytes, shape }: Pick<PlaceRequest, "capacityBytes" | "shape">): () => void {
    const begun: Begun = { hostId: host.id, parent: pool.parentDataset, volumeId, capacityBytes, sparse: shape.sparse };
    this.#begun.add(begun);
    return () => {
      this.#begun.delete(begun);
    };
  }
}

interface HostLook {
  readonly pools: readonly PoolLook[];
  readonly failure: unknown;
}

interface Seen {
  readonly capacity: ParentCapacity | undefined;
  readonly failure: unknown;
  readonly candidate: Candidate;
}

function seenAt({ host, pool }: Spot, look: HostLook | undefined, commitments: readonly Commitment[], begun: readonly Begun[]): Seen {
  const here = begun.filter(({ hostId }) => hostId === host.id);
  const recorded = commitments.filter(({ hostId }) => hostId === host.id).reduce((sum, { volumes }) => sum + volumes, 0);
  const parents = parentCapacities(host, look?.pools ?? [], commitments, here);
  const capacity = parents.find(({ parentDataset }) => parentDataset === pool.parentDataset);
  const candidate = {
    hostId: host.id,
    pool: pool.name,
    parentDataset: pool.parentDataset,
    labels: host.labels,
    simulated: isSimulated(host),
    unseen: look?.failure === undefined ? undefined : `the host could not be read: ${errorChain(look.failure)}`,
    capacity,
    volumes: recorded + here.filter(({ volumeId }) => volumeId !== undefined).length,
  };
  return { capacity, failure: look?.failure, candidate };
}

function requireRoom({ host, pool }: Spot, seen: Seen | undefined, more: bigint, whole: bigint): void {
  const details = { field: "volume.capacity_bytes", host: `hosts/${host.id}`, pool: pool.name };
  if (seen?.failure !== undefined) throw seen.failure;
  const capacity = seen?.capacity;
  if (capacity === undefined || capacity.health === "NOT_IMPORTED") {
    throw new StorageError("unavailable", `pool ${pool.name} is not imported on hosts/${host.id}`, {
      details: { host: details.host, pool: details.pool },
      hint: "Import it with `zpool import` on that host.",
    });
  }
  if (capacity.problem !== undefined) {
    throw new StorageError("unavailable", `make room on hosts/${host.id} in pool ${pool.name}: ${capacity.problem}`, {
      details: { host: details.host, pool: details.pool },
      hint: "GetPool tells what is wrong with it.",
    });
  }
  if (whole > capacity.sizeBytes) {
    throw new StorageError("no_space", `volume.capacity_bytes: ${whole} is more than the whole pool ${pool.name}`, {
      details: { ...details, reason: "LARGER_THAN_POOL" },
      hint: `The pool has ${capacity.sizeBytes} bytes.`,
    });
  }
  if (more <= capacity.committableBytes) return;
  const promised = `${capacity.committedBytes} bytes are promised under ${capacity.parentDataset}, ${capacity.committableBytes} more may be`;
  throw new StorageError("no_space", `volume.capacity_bytes: ${more} bytes cannot be promised in pool ${pool.name}: ${promised}`, {
    details,
    hint: `Ask for less, delete volumes, or raise overcommit_ratio (${capacity.overcommitRatio} now) of that pool of the host.`,
  });
}

function noSpot(hosts: readonly HostRecord[], hostId: HostId | undefined, pool: string, parentDataset: string): StorageError {
  const known = [...new Set(hosts.flatMap(({ pools }) => pools.map(({ name, parentDataset: parent }) => `${name} (${parent})`)))].join(", ") || "none";
  const where = hostId === undefined ? "no target host has" : `hosts/${hostId} has no`;
  if (pool === "" && parentDataset === "") {
    if (hostId === undefined) return new StorageError("precondition", "place the volume: no target host has a pool", { hint: "Add one with CreateHost." });
    return invalidField("volume.pool", `hosts/${hostId} has no pool`, "Add one to it with UpdateHost.");
  }
  const field = pool !== "" && !hosts.some(({ pools }) => pools.some(({ name }) => name === pool)) ? "volume.pool" : "volume.parent_dataset";
  const wanted = field === "volume.pool" ? `pool "${pool}"` : `parent dataset "${parentDataset}"${pool === "" ? "" : ` in pool ${pool}`}`;
  return new StorageError("not_found", `${field}: ${where} ${hostId === undefined ? "a " : ""}${wanted}`, {
    details: { field, ...(hostId !== undefined && { host: `hosts/${hostId}` }) },
    hint: `There are: ${known}.`,
  });
}

function noPlace({ capacityBytes }: PlaceRequest, ranked: readonly Ranked[]): StorageError {
  const why = ranked.map((one) => `${nameOf(one)}: ${one.reasons.join(", ")}`).join("; ");
  const onlyFull = ranked.some((one) => one.onlyFull);
  return new StorageError(onlyFull ? "no_space" : "precondition", `place a volume of ${capacityBytes} bytes: no pool fits: ${why}`, {
    details: { field: onlyFull ? "volume.capacity_bytes" : "host_labels", reason: "NO_PLACE", candidates: String(ranked.length) },
    hint: "GetCapacity and ListPools show what there is; name a host and a pool to have it refused or taken for that alone.",
  });
}
