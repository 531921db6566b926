import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { GetPoolResponseSchema, ListPoolsResponseSchema, PoolStatusSchema, type PoolService, type PoolStatus } from "@zfsilo/api";
import { parsePoolName } from "@zfsilo/host";
import { errorChain, invalidField, StorageError, within, type HostId, type Logger } from "@zfsilo/lib";
import { parentCapacities } from "../machines/capacity.ts";
import type { HostRecord } from "../store/model.ts";
import type { HostStore, VolumeStore } from "../store/stores.ts";
import { conditionToMessage } from "./convert/condition.ts";
import { poolToMessage } from "./convert/pool.ts";
import { parseHostName } from "./field.ts";
import { pageOf, parsePage } from "./page.ts";
import type { PoolReader } from "./ports.ts";
import { poolReadLimitMs, targetHosts } from "./target-hosts.ts";

export interface PoolServiceDeps {
  readonly hosts: HostStore;
  readonly volumes: Pick<VolumeStore, "commitments">;
  readonly pools: PoolReader;
  readonly log: Logger;
}

export function poolService(deps: PoolServiceDeps): ServiceImpl<typeof PoolService> {
  return {
    async getPool({ name }, { signal }) {
      const { hostId, pool } = parsePoolResource(name);
      const host = await deps.hosts.get(hostId);
      if (!host.pools.some((ref) => ref.name === pool)) {
        throw new StorageError("not_found", `${name} does not exist`, {
          details: { host: `hosts/${hostId}`, pool },
          hint: `The pools of that host are: ${host.pools.map((ref) => ref.name).join(", ") || "none"}.`,
        });
      }
      try {
        const [found] = await read(deps, host, pool, signal);
        return create(GetPoolResponseSchema, { ...(found && { pool: found }) });
      } catch (error) {
        signal.throwIfAborted();
        const condition = conditionToMessage({ reason: "HOST_UNREACHABLE", message: errorChain(error), observedAt: new Date() });
        return create(GetPoolResponseSchema, { pool: create(PoolStatusSchema, { name, ...(condition && { condition }) }) });
      }
    },

    async listPools(request, { signal }) {
      const asked = parsePage(request);
      const hosts = await targetHosts(deps.hosts, request.parent, "parent");
      const unreachableHosts: string[] = [];
      const found = await Promise.all(
        hosts.map(async (host): Promise<readonly PoolStatus[]> => {
          try {
            return await read(deps, host, undefined, signal);
          } catch (error) {
            signal.throwIfAborted();
            deps.log.warn({ err: error, host: host.id }, "pools could not be read");
            unreachableHosts.push(`hosts/${host.id}`);
            return [];
          }
        }),
      );
      const { page, nextPageToken } = pageOf(PoolStatusSchema, found.flat(), ({ name }) => name, asked);
      return create(ListPoolsResponseSchema, { pools: page, nextPageToken, unreachableHosts: unreachableHosts.sort() });
    },
  };
}

async function read(deps: PoolServiceDeps, host: HostRecord, pool: string | undefined, signal: AbortSignal): Promise<readonly PoolStatus[]> {
  const limited = within(poolReadLimitMs, signal);
  const looks = await deps.pools.look(host, pool, limited);
  const parents = parentCapacities(host, looks, await deps.volumes.commitments([]));
  return Promise.all(
    looks.map(async (look) => {
      const status = look.facts === undefined ? undefined : await deps.pools.status(host, look.name, limited);
      const own = parents.filter((parent) => parent.pool === look.name);
      return poolToMessage({ name: `hosts/${host.id}/pools/${look.name}`, look, status, parents: own }, new Date());
    }),
  );
}

/** `hosts/{host}/pools/{pool}`. */
function parsePoolResource(name: string): { readonly hostId: HostId; readonly pool: string } {
  const match = /^(hosts\/[^/]*)\/pools\/(.*)$/.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw invalidField("name", name === "" ? "is required" : `${JSON.stringify(name.slice(0, 80))} is no name of a pool`, "Write hosts/HOST/pools/POOL.");
  }
  return { hostId: parseHostName(match[1], "name"), pool: parsePoolName(match[2], "name") };
}
