import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  GetCapacityResponseSchema,
  GetServerInfoResponseSchema,
  PoolCapacitySchema,
  type GetCapacityRequest,
  type PoolCapacity,
  type Service,
} from "@zfsilo/api";
import { parseDatasetName, parsePoolName, parseZfsOptions } from "@zfsilo/host";
import { invalidField, within, type Logger } from "@zfsilo/lib";
import { isSimulated, unnamedTargets } from "../host/simulated.ts";
import { creatableBytes, creatableInAll, largestVolume, parentCapacities, type HostParents, type VolumeShape } from "../machines/capacity.ts";
import type { HostRecord, PoolRef } from "../store/model.ts";
import type { Commitment, HostStore, VolumeStore } from "../store/stores.ts";
import { checkLabels } from "./field.ts";
import { pageOf, parsePage } from "./page.ts";
import type { PoolReader } from "./ports.ts";
import { poolReadLimitMs, targetHosts } from "./target-hosts.ts";

export interface ServiceDeps {
  readonly hosts: HostStore;
  readonly volumes: Pick<VolumeStore, "commitments">;
  readonly pools: PoolReader;
  readonly log: Logger;
  readonly version: string;
  readonly clusterId: string;
  readonly features: readonly string[];
}

export function service(deps: ServiceDeps): ServiceImpl<typeof Service> {
  return {
    async getServerInfo() {
      const { version, clusterId, features } = deps;
      const simulatedHosts = (await deps.hosts.all()).filter(isSimulated).map(({ id }) => `hosts/${id}`);
      return create(GetServerInfoResponseSchema, { version, clusterId, features: [...features], simulatedHosts });
    },

    async getCapacity(request, { signal }) {
      const asked = parseQuery(request);
      const askedPage = parsePage(request);
      const named = await targetHosts(deps.hosts, request.host, "host");
      const hosts = request.host === "" ? unnamedTargets(named) : named;
      const wanted = hosts.filter((host) => host.pools.some(asked.wants) && hasLabels(host, asked.hostLabels));
      if (request.host !== "" && wanted.length === 0) refuseNamed(request);
      const commitments = await deps.volumes.commitments([]);
      const found = await Promise.all(wanted.map((host) => capacityOf(deps, host, asked, commitments, signal)));
      const pools = found.flatMap((one) => one.pools);
      const { page, nextPageToken } = pageOf(PoolCapacitySchema, pools, ({ host, pool, parentDataset }) => [host, pool, parentDataset].join("\0"), askedPage);
      return create(GetCapacityResponseSchema, {
        pools: page,
        nextPageToken,
        availableBytes: creatableInAll(found.map(({ parents }) => parents), asked.shape),
        maximumVolumeBytes: pools.reduce((most, { maximumVolumeBytes: bytes }) => (bytes > most ? bytes : most), 0n),
      });
    },
  };
}

interface Query {
  readonly wants: (pool: PoolRef) => boolean;
  readonly hostLabels: Readonly<Record<string, string>>;
  readonly shape: VolumeShape;
}

function parseQuery(request: GetCapacityRequest): Query {
  const name = request.pool === "" ? undefined : parsePoolName(request.pool, "pool");
  const parent = request.parentDataset === "" ? undefined : parseDatasetName(request.parentDataset, "parent_dataset");
  const size = request.volblocksizeBytes;
  const options = size === 0n ? {} : parseZfsOptions({ volblocksize: size.toString() }, "volblocksize_bytes");
  return {
    wants: (pool) => (name === undefined || pool.name === name) && (parent === undefined || pool.parentDataset === parent),
    hostLabels: checkLabels(request.hostLabels, "host_labels"),
    shape: { sparse: request.sparse, volblocksize: options.volblocksize === undefined ? undefined : BigInt(options.volblocksize) },
  };
}

function refuseNamed({ host, pool, parentDataset }: GetCapacityRequest): never {
  if (pool !== "") throw invalidField("pool", `${host} has no pool ${pool}${parentDataset === "" ? "" : ` with ${parentDataset}`}, or not the labels asked for`);
  if (parentDataset !== "") throw invalidField("parent_dataset", `${host} has no parent dataset ${parentDataset}, or not the labels asked for`);
  throw invalidField("host", `${host} has no pool, or not the labels asked for`);
}

function hasLabels({ labels }: HostRecord, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

interface HostCapacity {
  readonly pools: readonly PoolCapacity[];
  /** What could be looked at. */
  readonly parents: HostParents;
}

/** One host that does not answer must not hide the space of the others. */
async function capacityOf(
  deps: ServiceDeps,
  host: HostRecord,
  { wants, shape }: Query,
  commitments: readonly Commitment[],
  signal: AbortSignal,
): Promise<HostCapacity> {
  const name = `hosts/${host.id}`;
  try {
    const looks = await deps.pools.look(host, undefined, within(poolReadLimitMs, signal));
    const refs = host.pools.filter(wants).map(({ parentDataset }) => parentDataset);
    const parents = parentCapacities(host, looks, commitments).filter(({ parentDataset }) => refs.includes(parentDataset));
    const pools = parents.map((parent) =>
      create(PoolCapacitySchema, {
        host: name,
        pool: parent.pool,
        parentDataset: parent.parentDataset,
        availableBytes: creatableBytes(parent, shape),
        usedBytes: parent.usedBytes,
        sizeBytes: parent.sizeBytes,
        health: parent.health,
        maximumVolumeBytes: largestVolume(parent, shape),
        simulated: isSimulated(host),
      }),
    );
    return { pools, parents };
  } catch (error) {
    signal.throwIfAborted();
    deps.log.warn({ err: error, host: host.id }, "capacity could not be read");
    const pools = host.pools
      .filter(wants)
      .map(({ name: pool, parentDataset }) => create(PoolCapacitySchema, { host: name, pool, parentDataset, health: "UNREACHABLE", simulated: isSimulated(host) }));
    return { pools, parents: [] };
  }
}
