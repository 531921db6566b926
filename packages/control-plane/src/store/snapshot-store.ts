import { StorageError, type HostId, type SnapshotId } from "@zfsilo/lib";
import type { EntityManager } from "typeorm";
import { brokenConstraint, type Database } from "./database.ts";
import { snapshotEntity, type SnapshotRow } from "./entities.ts";
import type { SnapshotRecord } from "./model.ts";
import { listQuery } from "./query/list-query.ts";
import type { PageTokens } from "./query/page-token.ts";
import { allSnapshots, readySnapshots } from "./snapshot-list.ts";
import { snapshotFrom, snapshotRow } from "./snapshot-row.ts";
import type { Page, PageRequest, SnapshotChange, SnapshotIdentity, SnapshotStore } from "./stores.ts";

const batchSize = 500;

export class SqlSnapshotStore implements SnapshotStore {
  readonly #database: Database;
  readonly #tokens: PageTokens;

  constructor(database: Database, tokens: PageTokens) {
    this.#database = database;
    this.#tokens = tokens;
  }

  async insert(snapshots: readonly SnapshotRecord[]): Promise<void> {
    try {
      await this.#database.write((manager) => manager.insert(snapshotEntity, snapshots.map(snapshotRow)));
    } catch (error) {
      throw insertionRefused(error, snapshots);
    }
  }

  async find(id: SnapshotId): Promise<SnapshotRecord | undefined> {
    const rows = await this.#database.read<SnapshotRow>("select * from snapshots where id = ?", [id]);
    return rows.map(snapshotFrom)[0];
  }

  async get(id: SnapshotId): Promise<SnapshotRecord> {
    return (await this.find(id)) ?? raise(snapshotNotFound(id));
  }

  async list(request: PageRequest, tombstoned: boolean): Promise<Page<SnapshotRecord>> {
    const query = listQuery(tombstoned ? allSnapshots : readySnapshots, request, this.#tokens);
    return query.page(await this.#database.read<SnapshotRow>(query.sql, query.parameters), snapshotFrom);
  }

  async *each(): AsyncIterable<SnapshotRecord> {
    for await (const row of this.#rows()) if (row.state !== "creating") yield snapshotFrom(row);
  }

  async ofDataset(host: HostId, dataset: string): Promise<readonly SnapshotRecord[]> {
    const rows = await this.#database.read<SnapshotRow>("select * from snapshots where host_id = ? and dataset = ?", [host, dataset]);
    return rows.map(snapshotFrom).sort(inOrderOfCreation);
  }

  update(id: SnapshotId, change: SnapshotChange): Promise<SnapshotRecord> {
    return this.#database.write(async (manager) => (await changeRow(manager, id, change)) ?? raise(snapshotNotFound(id)));
  }

  async updateAll(changes: ReadonlyMap<SnapshotId, SnapshotChange>): Promise<void> {
    if (changes.size === 0) return;
    await this.#database.write((manager) =>
      this.#database.atomically(manager, async (transaction) => {
        for (const [id, change] of changes) await changeRow(transaction, id, change);
      }),
    );
  }

  async remove(ids: readonly SnapshotId[]): Promise<void> {
    if (ids.length === 0) return;
    await this.#database.write((manager) => manager.delete(snapshotEntity, [...ids]));
  }

  async *identities(): AsyncIterable<SnapshotIdentity> {
    for await (const row of this.#rows()) {
      const { id, hostId, dataset, handle } = snapshotFrom(row);
      yield { id, hostId, dataset, handle };
    }
  }

  async countByCondition(): Promise<Readonly<Record<string, number>>> {
    const rows = await this.#database.read<{ reason: string; count: number }>(
      `select json_extract("condition", '$.reason') as reason, count(*) as count from snapshots where "condition" <> '' group by 1`,
    );
    return Object.fromEntries(rows.map(({ reason, count }) => [reason, count]));
  }

  async *#rows(): AsyncIterable<SnapshotRow> {
    let after = "";
    for (;;) {
      const sql = `select * from snapshots where id > ? order by id limit ${batchSize}`;
      const rows = await this.#database.read<SnapshotRow>(sql, [after]);
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < batchSize) return;
      after = last.id;
    }
  }
}

/** Reads and writes on the connection that writes, within a turn. Undefined when there is no such snapshot. */
async function changeRow(manager: EntityManager, id: SnapshotId, change: SnapshotChange): Promise<SnapshotRecord | undefined> {
  const [row] = await manager.query<SnapshotRow[]>("select * from snapshots where id = ?", [id]);
  if (row === undefined) return undefined;
  const current = snapshotFrom(row);
  const changed = { ...current, ...change, revision: current.revision + 1, updatedAt: new Date() };
  await manager.update(snapshotEntity, { id }, snapshotRow(changed));
  return changed;
}

/** Two of one transaction group were taken at the same instant; the id keeps their order the same each time. */
function inOrderOfCreation(a: SnapshotRecord, b: SnapshotRecord): number {
  const at = ({ createTxg }: SnapshotRecord): bigint => (createTxg === "" ? 1n << 64n : BigInt(createTxg));
  if (at(a) !== at(b)) return at(a) < at(b) ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}

export function insertionRefused(error: unknown, snapshots: readonly SnapshotRecord[]): unknown {
  const broken = brokenConstraint(error);
  const host = snapshots[0]?.hostId ?? "";
  if (broken?.kind === "foreign_key") {
    return new StorageError("not_found", `hosts/${host} does not exist`, { cause: error, details: { host: `hosts/${host}` } });
  }
  if (broken?.kind !== "unique") return error;
  const names = snapshots.map(({ id }) => `snapshots/${id}`).join(", ");
  return new StorageError("already_exists", `${names} cannot be recorded: ${broken.columns} is taken`, { cause: error });
}

export function snapshotNotFound(id: SnapshotId): StorageError {
  return new StorageError("not_found", `snapshots/${id} does not exist`, { details: { snapshot: `snapshots/${id}` } });
}

function raise(error: Error): never {
  throw error;
}
