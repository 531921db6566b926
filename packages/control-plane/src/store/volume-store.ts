import { StorageError, type HostId, type SnapshotId, type VolumeHandle, type VolumeId } from "@zfsilo/lib";
import type { EntityManager } from "typeorm";
import { readCommitments } from "./commitments.ts";
import { brokenConstraint, type Database } from "./database.ts";
import { attachmentEntity, volumeEntity, type AttachmentRow, type VolumeRow } from "./entities.ts";
import { statusOf, type AttachmentRecord, type VolumeRecord } from "./model.ts";
import { compiledFilter, listQuery } from "./query/list-query.ts";
import type { PageTokens } from "./query/page-token.ts";
import type { SecretBox } from "./secret-box.ts";
import type { Commitment, Page, PageRequest, VolumeChange, VolumeIdentity, VolumeStore } from "./stores.ts";
import { volumeList } from "./volume-list.ts";
import {
  attachmentRow,
  isVolumeChangeKey,
  volumeColumns,
  volumeFrom,
  volumeRow,
  type VolumeWithAttachments,
} from "./volume-row.ts";

const batchSize = 500;

/** A volume and its attachments come in one statement: one row an attachment, so that they belong to one moment. */
const attachmentColumns = [
  "volume_id",
  "host_id",
  "initiator_iqn",
  "state",
  "device",
  "staging_path",
  "read_only",
  "target_paths",
  "read_only_paths",
  "chap",
  "generation",
  "created_at",
  "write_protected",
] as const satisfies readonly (keyof AttachmentRow)[];
const joined = attachmentColumns.map((column) => `a.${column} as a_${column}`).join(", ");
const inOrderOfCreation = "a.created_at, a.generation, a.host_id";

function withAttachments(volumes: string): string {
  return `select v.*, ${joined} from (${volumes}) v left join attachments a on a.volume_id = v.id`;
}

const oneVolume = `${withAttachments("select * from volumes where id = ?")} order by ${inOrderOfCreation}`;

type JoinedRow = VolumeRow & Record<`a_${keyof AttachmentRow}`, string | number | null>;

export class SqlVolumeStore implements VolumeStore {
  readonly #database: Database;
  readonly #box: SecretBox;
  readonly #tokens: PageTokens;

  constructor(database: Database, box: SecretBox, tokens: PageTokens) {
    this.#database = database;
    this.#box = box;
    this.#tokens = tokens;
  }

  async insert(volume: VolumeRecord): Promise<void> {
    try {
      await this.#database.write((manager) => manager.insert(volumeEntity, volumeRow(volume)));
    } catch (error) {
      const broken = brokenConstraint(error);
      if (broken?.kind === "foreign_key") throw hostNotFound(volume.hostId, error);
      if (broken?.kind !== "unique") throw error;
      throw new StorageError("already_exists", `volumes/${volume.id} cannot be recorded: its ${taken(broken.columns)} is taken`, {
        details: { volume: `volumes/${volume.id}` },
      });
    }
  }

  async find(id: VolumeId): Promise<VolumeRecord | undefined> {
    const rows = await this.#database.read<JoinedRow>(oneVolume, [id]);
    return this.#fold(rows)[0];
  }

  async get(id: VolumeId): Promise<VolumeRecord> {
    return (await this.find(id)) ?? raise(volumeNotFound(id));
  }

  async list(request: PageRequest): Promise<Page<VolumeRecord>> {
    const query = listQuery(volumeList, request, this.#tokens);
    const sql = `${withAttachments(query.sql)} order by ${query.orderSql("v")}, ${inOrderOfCreation}`;
    const rows = await this.#database.read<JoinedRow>(sql, query.parameters);
    return query.page(group(rows), (row) => volumeFrom(row, this.#box));
  }

  async *each(filter: string): AsyncIterable<VolumeRecord> {
    const condition = compiledFilter(filter, volumeList.fields);
    const page = `select * from volumes where state = 'ready' and id > ?${condition ? ` and ${condition.sql}` : ""} order by id limit ${batchSize}`;
    const sql = `${withAttachments(page)} order by v.id, ${inOrderOfCreation}`;
    let after = "";
    for (;;) {
      const rows = await this.#database.read<JoinedRow>(sql, [after, ...(condition?.parameters ?? [])]);
      const volumes = this.#fold(rows);
      yield* volumes;
      const last = volumes.at(-1);
      if (last === undefined || volumes.length < batchSize) return;
      after = last.id;
    }
  }

  update(id: VolumeId, change: VolumeChange, revision?: number): Promise<VolumeRecord> {
    return this.#database.write(async (manager) => {
      const current = (await this.#load(manager, id)) ?? raise(volumeNotFound(id));
      if (revision !== undefined && revision !== current.revision) throw revisionMismatch(`volumes/${id}`, current.revision);
      const changed = { ...current, ...change, revision: current.revision + 1, updatedAt: new Date() };
      await manager.update(volumeEntity, { id }, {
        ...volumeColumns(changed, Object.keys(change).filter(isVolumeChangeKey)),
        ...derivedColumns(changed),
      });
      return changed;
    });
  }

  async remove(id: VolumeId): Promise<void> {
    try {
      await this.#database.write((manager) => manager.delete(volumeEntity, { id }));
    } catch (error) {
      if (brokenConstraint(error) === undefined) throw error;
      throw new StorageError("precondition", `forget volumes/${id} while it has attachments`, {
        details: { volume: `volumes/${id}`, reason: "VOLUME_ATTACHED" },
      });
    }
  }

  async putAttachment(attachment: AttachmentRecord): Promise<void> {
    const { volumeId, hostId } = attachment;
    try {
      await this.#database.write(async (manager) => {
        const volume = (await this.#load(manager, volumeId)) ?? raise(volumeNotFound(volumeId));
        const others = volume.attachments.filter((other) => other.hostId !== hostId);
        await this.#changeAttachments(manager, { ...volume, attachments: [...others, attachment] }, (transaction) =>
          transaction.upsert(attachmentEntity, attachmentRow(attachment, this.#box), ["volume_id", "host_id"]),
        );
      });
    } catch (error) {
      throw brokenConstraint(error)?.kind === "foreign_key" ? hostNotFound(hostId, error) : error;
    }
  }

  async updateAttachment(
    volumeId: VolumeId,
    hostId: HostId,
    change: Partial<Pick<AttachmentRecord, "initiatorIqn" | "state" | "device" | "stagingPath" | "readOnly" | "targetPaths" | "readOnlyPaths">>,
  ): Promise<void> {
    await this.#database.write(async (manager) => {
      const volume = (await this.#load(manager, volumeId)) ?? raise(volumeNotFound(volumeId));
      const current = volume.attachments.find((attachment) => attachment.hostId === hostId);
      if (current === undefined) {
        throw new StorageError("not_found", `volumes/${volumeId} is not attached to hosts/${hostId}`, {
          details: { volume: `volumes/${volumeId}`, host: `hosts/${hostId}` },
        });
      }
      const changed = { ...current, ...change };
      const attachments = volume.attachments.map((attachment) => (attachment === current ? changed : attachment));
      const row = attachmentRow(changed, this.#box);
      await this.#changeAttachments(manager, { ...volume, attachments }, (transaction) =>
        transaction.update(attachmentEntity, { volume_id: volumeId, host_id: hostId }, row),
      );
    });
  }

  async removeAttachment(volumeId: VolumeId, hostId: HostId): Promise<void> {
    await this.#database.write(async (manager) => {
      const volume = await this.#load(manager, volumeId);
      const left = volume?.attachments.filter((attachment) => attachment.hostId !== hostId);
      if (volume === undefined || left === undefined || left.length === volume.attachments.length) return;
      await this.#changeAttachments(manager, { ...volume, attachments: left }, (transaction) =>
        transaction.delete(attachmentEntity, { volume_id: volumeId, host_id: hostId }),
      );
    });
  }

  async namesOn(host: HostId, limit: number): Promise<{ readonly volumes: readonly VolumeId[]; readonly attached: readonly VolumeId[] }> {
    const ids = async (sql: string): Promise<VolumeId[]> =>
      (await this.#database.read<{ id: string }>(`${sql} order by id limit ?`, [host, limit])).map(({ id }) => id as VolumeId);
    const [volumes, attached] = await Promise.all([
      ids("select id from volumes where host_id = ?"),
      ids("select volume_id as id from attachments where host_id = ?"),
    ]);
    return { volumes, attached };
  }

  async countOn(host: HostId): Promise<{ readonly volumes: number; readonly attachments: number }> {
    const [counts] = await this.#database.read<{ volumes: number; attachments: number }>(
      `select (select count(*) from volumes where host_id = ?) as volumes,
              (select count(*) from attachments where host_id = ?) as attachments`,
      [host, host],
    );
    return counts ?? { volumes: 0, attachments: 0 };
  }

  async initiatorNamesOn(host: HostId): Promise<readonly string[]> {
    const rows = await this.#database.read<{ name: string }>("select distinct initiator_iqn as name from attachments where host_id = ? order by 1", [host]);
    return rows.map(({ name }) => name);
  }

  commitments(except: readonly VolumeId[]): Promise<readonly Commitment[]> {
    return readCommitments(this.#database, except);
  }

  async countByCondition(): Promise<Readonly<Record<string, number>>> {
    const rows = await this.#database.read<{ reason: string; count: number }>(
      `select json_extract("condition", '$.reason') as reason, count(*) as count from volumes where "condition" <> '' group by 1`,
    );
    return Object.fromEntries(rows.map(({ reason, count }) => [reason, count]));
  }

  async clonesOf(snapshots: readonly SnapshotId[]): Promise<ReadonlyMap<SnapshotId, readonly VolumeId[]>> {
    const clones = new Map<SnapshotId, VolumeId[]>();
    if (snapshots.length === 0) return clones;
    // One parameter whatever their number: the statement stays the same, and prepared.
    const rows = await this.#database.read<{ id: VolumeId; origin: SnapshotId }>(
      `select id, origin from volumes where origin <> '' and origin in (select value from json_each(?)) order by origin, id`,
      [JSON.stringify(snapshots)],
    );
    for (const { id, origin } of rows) clones.set(origin, [...(clones.get(origin) ?? []), id]);
    return clones;
  }

  async *identities(): AsyncIterable<VolumeIdentity> {
    let after = "";
    for (;;) {
      const rows = await this.#database.read<{ id: VolumeId; handle: VolumeHandle; host_id: HostId; dataset: string; target_name: string }>(
        `select id, handle, host_id, dataset, target_name from volumes where id > ? order by id limit ${batchSize}`,
        [after],
      );
      for (const { host_id: hostId, target_name: targetName, ...row } of rows) yield { ...row, hostId, targetName };
      const last = rows.at(-1);
      if (last === undefined || rows.length < batchSize) return;
      after = last.id;
    }
  }

  async countByStatus(): Promise<Readonly<Record<string, number>>> {
    const rows = await this.#database.read<{ status: string; count: number }>(
      "select status, count(*) as count from volumes where state in ('ready', 'deleting') group by status",
    );
    return Object.fromEntries(rows.map(({ status, count }) => [status, count]));
  }

  /** Writes the attachment and what the volume's row derives from its attachments, together. */
  async #changeAttachments(
    manager: EntityManager,
    changed: VolumeRecord,
    write: (transaction: EntityManager) => Promise<unknown>,
  ): Promise<void> {
    await this.#database.atomically(manager, async (transaction) => {
      await write(transaction);
      const derived = derivedColumns({ ...changed, revision: changed.revision + 1, updatedAt: new Date() });
      await transaction.update(volumeEntity, { id: changed.id }, derived);
    });
  }

  /** Reads on the connection that writes, within a turn. */
  async #load(manager: EntityManager, id: VolumeId): Promise<VolumeRecord | undefined> {
    return this.#fold(await manager.query<JoinedRow[]>(oneVolume, [id]))[0];
  }

  #fold(rows: readonly JoinedRow[]): VolumeRecord[] {
    return group(rows).map((row) => volumeFrom(row, this.#box));
  }
}

/** Rows of one volume stand together. */
function group(rows: readonly JoinedRow[]): VolumeWithAttachments[] {
  const volumes: (VolumeRow & { attachments: AttachmentRow[] })[] = [];
  for (const row of rows) {
    let volume = volumes.at(-1);
    if (volume?.id !== row.id) {
      volume = { ...row, attachments: [] };
      volumes.push(volume);
    }
    if (row.a_volume_id === null) continue;
    const entries = attachmentColumns.map((column) => [column, row[`a_${column}`]]);
    volume.attachments.push(Object.fromEntries(entries) as AttachmentRow);
  }
  return volumes;
}

function derivedColumns(volume: VolumeRecord): Pick<VolumeRow, "status" | "revision" | "updated_at"> {
  return { status: statusOf(volume), revision: volume.revision, updated_at: volume.updatedAt.toISOString() };
}

/** "volumes.host_id, volumes.dataset" -> "dataset". */
function taken(columns: string): string {
  return columns.split(".").at(-1) ?? columns;
}

function volumeNotFound(id: VolumeId): StorageError {
  return new StorageError("not_found", `volumes/${id} does not exist`, { details: { volume: `volumes/${id}` } });
}

function hostNotFound(id: HostId, cause: unknown): StorageError {
  return new StorageError("not_found", `hosts/${id} does not exist`, { cause, details: { host: `hosts/${id}` } });
}

export function revisionMismatch(resource: string, current: number): StorageError {
  return new StorageError("aborted", `${resource} was changed by somebody else: its revision is ${current} now`, {
    hint: "Read it again, and repeat the change on what it is now.",
    details: { reason: "REVISION_MISMATCH", revision: String(current) },
  });
}

function raise(error: Error): never {
  throw error;
}
