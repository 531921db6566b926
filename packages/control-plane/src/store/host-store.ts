import { StorageError, type HostId } from "@zfsilo/lib";
import type { EntityManager } from "typeorm";
import { conditionFrom, fromJson, optionalJson } from "./column.ts";
import { brokenConstraint, type Database } from "./database.ts";
import { hostEntity, type HostRow } from "./entities.ts";
import type { HostRecord, PoolRef } from "./model.ts";
import { listQuery, type ListOf } from "./query/list-query.ts";
import type { PageTokens } from "./query/page-token.ts";
import type { HostChange, HostStore, Page, PageRequest } from "./stores.ts";
import { revisionMismatch } from "./volume-store.ts";

/** What ListHosts can filter by and order by. */
const hostList: ListOf = {
  kind: "hosts",
  table: "hosts",
  fields: {
    name: { type: "resource", column: "id", prefix: "hosts/" },
    display_name: { type: "string", column: "display_name" },
    labels: { type: "labels", column: "labels" },
    create_time: { type: "timestamp", column: "created_at" },
  },
  orders: { name: "id", create_time: "created_at" },
  defaultOrder: "name",
};

export class SqlHostStore implements HostStore {
  readonly #database: Database;
  readonly #tokens: PageTokens;
  /** Rows as last read: every step of every operation asks for a host, and they hardly ever change. */
  #known = new Map<HostId, HostRecord>();

  constructor(database: Database, tokens: PageTokens) {
    this.#database = database;
    this.#tokens = tokens;
  }

  async insert(host: HostRecord): Promise<void> {
    try {
      await this.#changing((manager) => manager.insert(hostEntity, hostRow(host)));
    } catch (error) {
      if (brokenConstraint(error)?.kind !== "unique") throw error;
      throw new StorageError("already_exists", `hosts/${host.id} exists already`, { details: { host: `hosts/${host.id}` } });
    }
  }

  async find(id: HostId): Promise<HostRecord | undefined> {
    const known = this.#known;
    const kept = known.get(id);
    if (kept !== undefined) return kept;
    const [row] = await this.#database.read<HostRow>("select * from hosts where id = ?", [id]);
    if (row === undefined) return undefined;
    const host = hostFrom(row);
    // Into the map as it was when the read began: after a change meanwhile, nobody looks at that one any more.
    known.set(id, host);
    return host;
  }

  async get(id: HostId): Promise<HostRecord> {
    const host = await this.find(id);
    if (host === undefined) throw hostNotFound(id);
    return host;
  }

  async list(request: PageRequest): Promise<Page<HostRecord>> {
    const query = listQuery(hostList, request, this.#tokens);
    return query.page(await this.#database.read<HostRow>(query.sql, query.parameters), hostFrom);
  }

  async all(): Promise<readonly HostRecord[]> {
    return (await this.#database.read<HostRow>("select * from hosts order by id")).map(hostFrom);
  }

  update(id: HostId, change: HostChange, revision?: number): Promise<HostRecord> {
    return this.#changing(async (manager) => {
      const [row] = await manager.query<HostRow[]>("select * from hosts where id = ?", [id]);
      if (row === undefined) throw hostNotFound(id);
      const current = hostFrom(row);
      if (revision !== undefined && revision !== current.revision) throw revisionMismatch(`hosts/${id}`, current.revision);
      const changed = { ...current, ...change, revision: current.revision + 1, updatedAt: new Date() };
      await manager.update(hostEntity, { id }, hostRow(changed));
      return changed;
    });
  }

  async remove(id: HostId): Promise<void> {
    try {
      await this.#changing((manager) => manager.delete(hostEntity, { id }));
    } catch (error) {
      if (brokenConstraint(error)?.kind !== "foreign_key") throw error;
      throw new StorageError("precondition", `hosts/${id} is in use by volumes`, {
        hint: "Delete the volumes that live on it, and disconnect those that are attached to it, first.",
        details: { host: `hosts/${id}`, reason: "HOST_IN_USE" },
      });
    }
  }

  /** Everything that was read before a change is read again after it. */
  async #changing<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    try {
      return await this.#database.write(work);
    } finally {
      this.#known = new Map();
    }
  }
}

function hostNotFound(id: HostId): StorageError {
  return new StorageError("not_found", `hosts/${id} does not exist`, { details: { host: `hosts/${id}` } });
}

/** JSON has no integers beyond 2^53: a quota is written as decimal text. */
type StoredPool = Omit<PoolRef, "quotaBytes"> & { readonly quotaBytes?: string };

function storedPool({ quotaBytes, ...pool }: PoolRef): StoredPool {
  return { ...pool, ...(quotaBytes !== undefined && { quotaBytes: quotaBytes.toString() }) };
}

function poolFrom({ quotaBytes, ...pool }: StoredPool): PoolRef {
  return { ...pool, ...(quotaBytes !== undefined && { quotaBytes: BigInt(quotaBytes) }) };
}

function hostRow(host: HostRecord): HostRow {
  return {
    id: host.id,
    display_name: host.displayName,
    labels: JSON.stringify(host.labels),
    roles: JSON.stringify(host.roles),
    connection: JSON.stringify(host.connection),
    pools: JSON.stringify(host.pools.map(storedPool)),
    portals: JSON.stringify(host.portals),
    initiator_iqn: host.initiatorIqn,
    allowed_roots: JSON.stringify(host.allowedRoots),
    from_template: host.fromTemplate === true ? 1 : 0,
    condition: optionalJson(host.condition),
    revision: host.revision,
    created_at: host.createdAt.toISOString(),
    updated_at: host.updatedAt.toISOString(),
  };
}

function hostFrom(row: HostRow): HostRecord {
  return {
    id: row.id as HostId,
    displayName: row.display_name,
    labels: fromJson(row.labels),
    roles: fromJson(row.roles),
    connection: fromJson(row.connection),
    pools: fromJson<StoredPool[]>(row.pools).map(poolFrom),
    portals: fromJson(row.portals),
    initiatorIqn: row.initiator_iqn,
    allowedRoots: fromJson(row.allowed_roots),
    ...(row.from_template === 1 && { fromTemplate: true }),
    condition: conditionFrom(row.condition),
    revision: row.revision,
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
  };
}
