import { KeyedMutex, StorageError, type Logger } from "@zfsilo/lib";
import { chmod, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { DataSource, type EntityManager, QueryFailedError } from "typeorm";
import { entities } from "./entities.ts";
import { migrations } from "./migrations/migrations.ts";
import { cachingDriver } from "./statement-cache.ts";

export interface DatabaseOptions {
  readonly file: string;
  readonly log: Logger;
}

type SqlValue = string | number;

/**
 * The SQLite file: one connection that writes and one that reads (WAL lets them work side by side). A read never sees
 * half of a transaction, and what a write has reported is seen by every read that begins after it.
 */
export class Database {
  readonly #writer: DataSource;
  readonly #reader: DataSource;
  readonly #turns = new KeyedMutex();

  constructor(writer: DataSource, reader: DataSource) {
    this.#writer = writer;
    this.#reader = reader;
  }

  /** A statement that changes nothing. */
  read<Row>(sql: string, parameters: readonly SqlValue[] = []): Promise<Row[]> {
    return this.#reader.query<Row[]>(sql, [...parameters]);
  }

  /**
   * The only way to write. Writers take turns, because they share a connection and would fall into each other's
   * transaction; so what `work` reads stays true until it has written. Each statement is durable by itself.
   */
  write<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    return this.#turns.run("write", () => work(this.#writer.manager));
  }

  /** All or nothing, within a turn that `write` gave. */
  atomically<T>(manager: EntityManager, work: (manager: EntityManager) => Promise<T>): Promise<T> {
    return manager.transaction(work);
  }

  /** Waits for writers that had their turn. */
  async close(): Promise<void> {
    await this.write(async () => {
      await this.#reader.destroy();
      await this.#writer.destroy();
    });
  }
}

/** Opens the database, made or brought up to date when needed. One of a newer version is refused and left as it is. */
export async function openDatabase({ file, log }: DatabaseOptions): Promise<Database> {
  const writer = dataSource(file);
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    // SQLite gives its -wal and -shm files the mode of the database.
    await (await open(file, "a", 0o600)).close();
    await chmod(file, 0o600);
    await writer.initialize();
    await refuseNewer(writer, file);
    // FULL: a success that was answered survives a power cut (docs/decisions/0001-sqlite-durability.md).
    for (const pragma of ["journal_mode = WAL", "synchronous = FULL"]) await writer.query(`pragma ${pragma}`);
    for (const { name } of await writer.runMigrations({ transaction: "all" })) log.info({ migration: name }, "database migrated");
  } catch (error) {
    if (writer.isInitialized) await writer.destroy();
    throw openingFailed(file, error);
  }
  const reader = dataSource(file);
  await reader.initialize();
  await reader.query("pragma query_only = on");
  return new Database(writer, reader);
}

function dataSource(file: string): DataSource {
  return new DataSource({
    type: "sqlite",
    database: file,
    entities,
    migrations,
    synchronize: false,
    busyTimeout: 5_000,
    driver: cachingDriver,
  });
}

async function refuseNewer(database: DataSource, file: string): Promise<void> {
  const tables = await database.query<unknown[]>("select 1 from sqlite_master where type = 'table' and name = 'migrations'");
  if (tables.length === 0) return;
  const known = new Set(migrations.map(({ name }) => name));
  const applied = await database.query<{ name: string }[]>("select name from migrations order by id");
  const unknown = applied.filter(({ name }) => !known.has(name)).map(({ name }) => name);
  if (unknown.length === 0) return;
  throw new StorageError("precondition", `${file} was written by a newer version of zfsilo (${unknown.join(", ")})`, {
    hint: "Start that version again, or restore a copy of the file from before the upgrade. Nothing was changed.",
  });
}

function openingFailed(file: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const damaged = error instanceof Error && /SQLITE_(NOTADB|CORRUPT)/.test(error.message);
  return new StorageError("precondition", `open the database ${file}`, {
    cause: error,
    ...(damaged ? { hint: "The file is damaged or no SQLite database. Restore it from a copy." } : {}),
  });
}

export type Constraint = { readonly kind: "unique"; readonly columns: string } | { readonly kind: "foreign_key" };

/** Which rule of a table a statement broke, when that is why it failed. */
export function brokenConstraint(error: unknown): Constraint | undefined {
  if (!(error instanceof QueryFailedError)) return undefined;
  // "SQLITE_CONSTRAINT: UNIQUE constraint failed: volumes.handle", SQLite 3.52.
  const unique = /UNIQUE constraint failed: (.+)$/m.exec(error.message)?.[1];
  if (unique !== undefined) return { kind: "unique", columns: unique };
  return error.message.includes("FOREIGN KEY constraint failed") ? { kind: "foreign_key" } : undefined;
}
