import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  GetCapacityResponseSchema,
  GetServerInfoResponseSchema,
  PoolCapacitySchema,
  type PoolCapacity,
  type Service,
} from "@zfsilo/api";
import { parsePoolName } from "@zfsilo/host";
import { invalidField, type Logger } from "@zfsilo/lib";
import type { HostRecord } from "../store/model.ts";
import type { HostStore } from "../store/stores.ts";
import { parseHostName } from "./field.ts";
import type { CapacityProbe } from "./ports.ts";

export interface ServiceDeps {
  readonly hosts: HostStore;
  readonly capacity: CapacityProbe;
  readonly log: Logger;
  readonly version: string;
  readonly clusterId: string;
  readonly features: readonly string[];
}

export function service(deps: ServiceDeps): ServiceImpl<typeof Service> {
  return {
    getServerInfo() {
      const { version, clusterId, features } = deps;
      return create(GetServerInfoResponseSchema, { version, clusterId, features: [...features] });
    },

    async getCapacity(request, { signal }) {
      const pool = request.pool === "" ? undefined : parsePoolName(request.pool, "pool");
      const hosts = await targetHosts(deps.hosts, request.host);
      const wanted = hosts.filter(({ pools }) => pool === undefined || pools.some(({ name }) => name === pool));
      if (request.host !== "" && wanted.length === 0) {
        throw invalidField("pool", `${request.host} has no pool ${request.pool}`);
      }
      const pools = (await Promise.all(wanted.map((host) => poolsOf(deps, host, pool, signal)))).flat();
      const readable = pools.filter(({ health }) => health !== unreachable);
      const availableBytes = readable.reduce((sum, { availableBytes: bytes }) => sum + bytes, 0n);
      return create(GetCapacityResponseSchema, { pools, availableBytes });
    },
  };
}

const unreachable = "UNREACHABLE";

async function targetHosts(hosts: HostStore, name: string): Promise<readonly HostRecord[]> {
  if (name === "") return (await hosts.all()).filter(({ roles }) => roles.includes("target"));
  const host = await hosts.get(parseHostName(name, "host"));
  if (!host.roles.includes("target")) throw invalidField("host", `${name} is no target`);
  return [host];
}

/** One host that does not answer must not hide the space of the others. */
async function poolsOf(deps: ServiceDeps, host: HostRecord, pool: string | undefined, signal: AbortSignal): Promise<PoolCapacity[]> {
  const name = `hosts/${host.id}`;
  try {
    const found = await deps.capacity.capacity(host, pool, signal);
    return found.map((entry) => create(PoolCapacitySchema, { host: name, ...entry }));
  } catch (error) {
    signal.throwIfAborted();
    deps.log.warn({ err: error, host: host.id }, "capacity could not be read");
    return host.pools
      .filter((entry) => pool === undefined || entry.name === pool)
      .map((entry) => create(PoolCapacitySchema, { host: name, pool: entry.name, health: unreachable }));
  }
}
