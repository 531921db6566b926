import { BugError, StorageError, type OperationId } from "@zfsilo/lib";
import {
  parseContext,
  stringifyContext,
  type JournalEntry,
  type OperationFailure,
  type OperationState,
  type StepRecord,
} from "@zfsilo/try";
import { fromJson, fromOptionalJson, optionalJson } from "./column.ts";
import type { Database } from "./database.ts";
import { operationEntity, type OperationRow } from "./entities.ts";
import { listQuery, type ListOf } from "./query/list-query.ts";
import type { PageTokens } from "./query/page-token.ts";
import type { CommandRecord, OperationRecord, OperationStore, Page, PageRequest } from "./stores.ts";

const maxCommands = 100;
/** Rows deleted in one turn, so that pruning a large table does not hold up the writers behind it. */
const pruneBatch = 500;

/** What ListOperations can filter by and order by. */
const operationList: ListOf = {
  kind: "operations",
  table: "operations",
  fields: {
    name: { type: "resource", column: "id", prefix: "operations/" },
    kind: { type: "string", column: "kind" },
    subject: { type: "string", column: "subject" },
    state: {
      type: "enum",
      column: "state",
      prefix: "OPERATION_STATE_",
      values: { RUNNING: "running", UNDOING: "undoing", SUCCEEDED: "succeeded", FAILED: "failed", STUCK: "stuck" },
    },
    create_time: { type: "timestamp", column: "created_at" },
  },
  orders: { create_time: "created_at", name: "id" },
  defaultOrder: "create_time desc",
};

export class SqlOperationStore implements OperationStore {
  readonly #database: Database;
  readonly #tokens: PageTokens;

  constructor(database: Database, tokens: PageTokens) {
    this.#database = database;
    this.#tokens = tokens;
  }

  async open(entry: JournalEntry): Promise<void> {
    const row: OperationRow = {
      id: entry.id,
      kind: entry.kind,
      direction: entry.direction,
      subject: entry.subject,
      holds: JSON.stringify(entry.holds ?? []),
      fingerprint: entry.fingerprint,
      ...progressColumns(entry),
      commands: "[]",
      created_at: entry.createdAt.toISOString(),
    };
    await this.#database.write((manager) => manager.insert(operationEntity, row));
  }

  async save(entry: JournalEntry): Promise<void> {
    const columns = progressColumns(entry);
    const { affected } = await this.#database.write((manager) => manager.update(operationEntity, { id: entry.id }, columns));
    if (affected !== 1) throw new BugError(`operation ${entry.id} is saved but was never opened`);
  }

  async listOpen(): Promise<JournalEntry[]> {
    const rows = await this.#database.read<OperationRow>(
      "select * from operations where state in ('running', 'undoing', 'stuck') order by created_at, id",
    );
    return rows.map(entryFrom);
  }

  async find(id: OperationId): Promise<OperationRecord | undefined> {
    const rows = await this.#database.read<OperationRow>("select * from operations where id = ?", [id]);
    return rows.map(operationFrom)[0];
  }

  async get(id: OperationId): Promise<OperationRecord> {
    const operation = await this.find(id);
    if (operation !== undefined) return operation;
    throw new StorageError("not_found", `operations/${id} does not exist`, {
      hint: "Operations that ended are kept for the configured number of days.",
      details: { operation: `operations/${id}` },
    });
  }

  async findLast(subject: string): Promise<OperationRecord | undefined> {
    const rows = await this.#database.read<OperationRow>(
      // Two within a millisecond are told apart by who was written first.
      "select * from operations where subject = ? order by created_at desc, rowid desc limit 1",
      [subject],
    );
    return rows.map(operationFrom)[0];
  }

  async list(request: PageRequest): Promise<Page<OperationRecord>> {
    const query = listQuery(operationList, request, this.#tokens);
    return query.page(await this.#database.read<OperationRow>(query.sql, query.parameters), operationFrom);
  }

  /** An operation that was suspended and taken up again adds to what it has; the newest are kept. */
  async addCommands(id: OperationId, commands: readonly CommandRecord[]): Promise<void> {
    if (commands.length === 0) return;
    await this.#database.write(async (manager) => {
      // Nearly always the first ones: then nothing has to be read.
      const first = JSON.stringify(commands.slice(-maxCommands));
      const { affected } = await manager.update(operationEntity, { id, commands: "[]" }, { commands: first });
      if (affected === 1) return;
      const [row] = await manager.query<{ commands: string }[]>("select commands from operations where id = ?", [id]);
      if (row === undefined) return;
      const kept = [...fromJson<CommandRecord[]>(row.commands), ...commands].slice(-maxCommands);
      await manager.update(operationEntity, { id }, { commands: JSON.stringify(kept) });
    });
  }

  async prune(before: Date): Promise<number> {
    let pruned = 0;
    for (;;) {
      const rows = await this.#database.read<{ id: string }>(
        `select id from operations where ended_at <> '' and ended_at < ? limit ${pruneBatch}`,
        [before.toISOString()],
      );
      if (rows.length === 0) return pruned;
      await this.#database.write((manager) => manager.delete(operationEntity, rows.map(({ id }) => id)));
      pruned += rows.length;
    }
  }
}

type Progress = Pick<OperationRow, "context" | "state" | "steps" | "failure" | "ended_at">;

function progressColumns(entry: JournalEntry): Progress {
  return {
    context: stringifyContext(entry.context),
    state: entry.state,
    steps: JSON.stringify(entry.steps),
    failure: optionalJson(entry.failure),
    ended_at: entry.endedAt?.toISOString() ?? "",
  };
}

function entryFrom(row: OperationRow): JournalEntry {
  const failure = fromOptionalJson<OperationFailure>(row.failure);
  const holds = fromJson<string[]>(row.holds);
  return {
    id: row.id as OperationId,
    kind: row.kind,
    direction: row.direction as JournalEntry["direction"],
    subject: row.subject,
    ...(holds.length > 0 && { holds }),
    fingerprint: row.fingerprint,
    context: parseContext(row.context),
    state: row.state as OperationState,
    steps: fromJson<StoredStep[]>(row.steps).map(stepFrom),
    ...(failure && { failure }),
    createdAt: new Date(row.created_at),
    ...(row.ended_at !== "" && { endedAt: new Date(row.ended_at) }),
  };
}

function operationFrom(row: OperationRow): OperationRecord {
  return { ...entryFrom(row), commands: fromJson(row.commands) };
}

type StoredStep = Pick<StepRecord, "name" | "state"> & { readonly startedAt?: string; readonly endedAt?: string };

function stepFrom({ name, state, startedAt, endedAt }: StoredStep): StepRecord {
  return {
    name,
    state,
    ...(startedAt !== undefined && { startedAt: new Date(startedAt) }),
    ...(endedAt !== undefined && { endedAt: new Date(endedAt) }),
  };
}
