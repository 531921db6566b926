import { StorageError, type GroupSnapshotId, type HostId, type SnapshotId, type VolumeId } from "@zfsilo/lib";
import { brokenConstraint, type Database } from "./database.ts";
import { fromJson } from "./column.ts";
import { groupSnapshotEntity, snapshotEntity, type GroupSnapshotRow } from "./entities.ts";
import type { GroupSnapshotRecord, SnapshotRecord } from "./model.ts";
import { listQuery } from "./query/list-query.ts";
import type { PageTokens } from "./query/page-token.ts";
import { groupSnapshots } from "./snapshot-list.ts";
import { snapshotRow } from "./snapshot-row.ts";
import { insertionRefused } from "./snapshot-store.ts";
import type { GroupSnapshotStore, Page, PageRequest } from "./stores.ts";

export class SqlGroupSnapshotStore implements GroupSnapshotStore {
  readonly #database: Database;
  readonly #tokens: PageTokens;

  constructor(database: Database, tokens: PageTokens) {
    this.#database = database;
    this.#tokens = tokens;
  }

  async insert(group: GroupSnapshotRecord, snapshots: readonly SnapshotRecord[]): Promise<void> {
    try {
      await this.#database.write((manager) =>
        this.#database.atomically(manager, async (transaction) => {
          await transaction.insert(groupSnapshotEntity, groupRow(group));
          await transaction.insert(snapshotEntity, snapshots.map(snapshotRow));
        }),
      );
    } catch (error) {
      const broken = brokenConstraint(error);
      if (broken?.kind !== "unique" || !broken.columns.startsWith("group_snapshots.")) throw insertionRefused(error, snapshots);
      throw new StorageError("already_exists", `groupSnapshots/${group.id} exists already`, {
        cause: error,
        details: { groupSnapshot: `groupSnapshots/${group.id}` },
      });
    }
  }

  async find(id: GroupSnapshotId): Promise<GroupSnapshotRecord | undefined> {
    const rows = await this.#database.read<GroupSnapshotRow>("select * from group_snapshots where id = ?", [id]);
    return rows.map(groupFrom)[0];
  }

  async get(id: GroupSnapshotId): Promise<GroupSnapshotRecord> {
    const group = await this.find(id);
    if (group !== undefined) return group;
    throw new StorageError("not_found", `groupSnapshots/${id} does not exist`, { details: { groupSnapshot: `groupSnapshots/${id}` } });
  }

  async list(request: PageRequest): Promise<Page<GroupSnapshotRecord>> {
    const query = listQuery(groupSnapshots, request, this.#tokens);
    return query.page(await this.#database.read<GroupSnapshotRow>(query.sql, query.parameters), groupFrom);
  }

  async update(id: GroupSnapshotId, { state, createdAt }: Parameters<GroupSnapshotStore["update"]>[1]): Promise<void> {
    const columns: Partial<GroupSnapshotRow> = {
      ...(state !== undefined && { state }),
      ...(createdAt !== undefined && { created_at: createdAt.toISOString() }),
    };
    await this.#database.write((manager) => manager.update(groupSnapshotEntity, { id }, columns));
  }

  async remove(id: GroupSnapshotId): Promise<void> {
    await this.#database.write((manager) =>
      this.#database.atomically(manager, async (transaction) => {
        await transaction.delete(snapshotEntity, { group_id: id });
        await transaction.delete(groupSnapshotEntity, { id });
      }),
    );
  }
}

function groupRow(group: GroupSnapshotRecord): GroupSnapshotRow {
  return {
    id: group.id,
    display_name: group.displayName,
    labels: JSON.stringify(group.labels),
    consistency: group.consistency,
    host_id: group.hostId,
    volumes: JSON.stringify(group.volumeIds),
    snapshots: JSON.stringify(group.snapshotIds),
    state: group.state,
    request_fingerprint: group.requestFingerprint,
    created_at: group.createdAt.toISOString(),
  };
}

function groupFrom(row: GroupSnapshotRow): GroupSnapshotRecord {
  return {
    id: row.id as GroupSnapshotId,
    displayName: row.display_name,
    labels: fromJson(row.labels),
    consistency: row.consistency as GroupSnapshotRecord["consistency"],
    hostId: row.host_id as HostId,
    volumeIds: fromJson<VolumeId[]>(row.volumes),
    snapshotIds: fromJson<SnapshotId[]>(row.snapshots),
    state: row.state as GroupSnapshotRecord["state"],
    requestFingerprint: row.request_fingerprint,
    createdAt: new Date(row.created_at),
  };
}
