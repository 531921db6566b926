import { KeyedMutex, StorageError, type Logger } from "@zfsilo/lib";
import { chmod, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { DataSource, type EntityManager, QueryFailedError } from "typeorm";
import { DatabaseHealth, readOnly, troubleOf } from "./database-health.ts";
import { entities } from "./entities.ts";
import type { Query } from "./lease.ts";
import { migrations } from "./migrations/migrations.ts";
import { cachingDriver } from "./statement-cache.ts";

export interface DatabaseOptions {
  readonly file: string;
  readonly log: Logger;
  /** Called before anything is changed in the tables, and kept from it by throwing. */
  readonly guard?: (query: Query) => Promise<void>;
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
  readonly #health: DatabaseHealth;
  /** What goes before the next writer, whoever that is. */
  readonly #first: (() => Promise<void>)[] = [];
  #mayWrite: () => void = () => undefined;

  constructor(writer: DataSource, reader: DataSource, file: string) {
    this.#writer = writer;
    this.#reader = reader;
    this.#health = new DatabaseHealth(file);
  }

  /** Why it cannot be used at the moment, as far as the last tries tell. */
  get problem(): StorageError | undefined {
    return this.#health.problem;
  }

  /** From now on `check` is asked before each write, and refuses it by throwing. */
  guardWrites(check: () => void): void {
    this.#mayWrite = check;
  }

  /** A statement that changes nothing. */
  async read<Row>(sql: string, parameters: readonly SqlValue[] = []): Promise<Row[]> {
    try {
      return await this.#reader.query<Row[]>(sql, [...parameters]);
    } catch (error) {
      throw this.#health.failed(error);
    }
  }

  /**
   * The only way to write. Writers take turns, because they share a connection and would fall into each other's
   * transaction; so what `work` reads stays true until it has written. Each statement is durable by itself.
   */
  async write<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    // At once, for one that would wait in vain; and in its turn, because the wait may be long.
    this.#mayWrite();
    return this.#turn(() => {
      this.#mayWrite();
      return this.#tried(work);
    });
  }

  /**
   * For what decides whether others may write. Never refused, and before all who wait: behind hundreds of writers it would
   * come too late for every one of them.
   */
  writeFirst<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    const done = new Promise<T>((resolve, reject) => {
      this.#first.push(() => this.#tried(work).then(resolve, reject));
    });
    // Where nobody has or awaits a turn, one is needed.
    void this.#turn(() => Promise.resolve());
    return done;
  }

  #turn<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.run("write", async () => {
      for (let first = this.#first.shift(); first !== undefined; first = this.#first.shift()) await first();
      return await work();
    });
  }

  async #tried<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    try {
      const result = await work(this.#writer.manager);
      this.#health.worked();
      return result;
    } catch (error) {
      throw this.#health.failed(error);
    }
  }

  /** All or nothing, within a turn that `write` gave. */
  atomically<T>(manager: EntityManager, work: (manager: EntityManager) => Promise<T>): Promise<T> {
    return manager.transaction(work);
  }

  /** Waits for writers that had their turn. */
  async close(): Promise<void> {
    await this.#turns.run("write", async () => {
      await this.#reader.destroy();
      await this.#writer.destroy();
    });
  }
}

/** Opens the database, made or brought up to date when needed. One of a newer version is refused and left as it is. */
export async function openDatabase({ file, log, guard }: DatabaseOptions): Promise<Database> {
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
    await guard?.((sql, parameters = []) => writer.query(sql, [...parameters]));
    for (const { name } of await writer.runMigrations({ transaction: "all" })) log.info({ migration: name }, "database migrated");
  } catch (error) {
    if (writer.isInitialized) await writer.destroy();
    throw openingFailed(file, error);
  }
  const reader = dataSource(file);
  await reader.initialize();
  await reader.query("pragma query_only = on");
  return new Database(writer, reader, file);
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
  const hint = troubleOf(error) ?? (error instanceof Error && /EACCES|EPERM|EROFS/.test(error.message) ? readOnly : undefined);
  return new StorageError("precondition", `open the database ${file}`, { cause: error, ...(hint === undefined ? {} : { hint }) });
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
