import { createRequire } from "node:module";

type Callback = (this: unknown, error: Error | null, rows?: unknown[]) => void;

/** TypeORM leaves the parameters out where there are none. */
type Rest = [callback: Callback] | [parameters: readonly unknown[] | undefined, callback?: Callback];

/** The part of node-sqlite3 6 (CommonJS, without types) that is used here; TypeORM is its only other caller. */
interface Statement {
  all(parameters: readonly unknown[], callback: Callback): void;
  run(parameters: readonly unknown[], callback: Callback): void;
  finalize(): void;
}

interface Connection {
  prepare(sql: string, callback: (this: Statement, error: Error | null) => void): Statement;
  close(callback?: (error: Error | null) => void): void;
}

interface Sqlite {
  readonly Database: new (...options: never[]) => Connection;
}

const sqlite3 = createRequire(import.meta.url)("sqlite3") as Sqlite;

/** Beyond what the stores ever say: only the filters of lists make more, and those go again. */
const mostStatements = 128;

/** What is said again and again. Everything else (pragmas, migrations) is prepared anew each time. */
const repeated = /^(?:select|insert|update|delete|begin|commit|rollback)\b/i;

/**
 * A connection that keeps the statements it has prepared. node-sqlite3 prepares and drops one for each call, which is a
 * second trip to another thread; kept, a statement takes less than half the time (0.03 and not 0.07 ms, read or write).
 * SQLite itself prepares a kept one again when the schema has changed (sqlite3_prepare_v2).
 */
class CachingConnection extends sqlite3.Database {
  /** Least recently used first. */
  readonly #kept = new Map<string, Statement>();
  #closing = false;

  all(sql: string, ...rest: Rest): void {
    const [parameters, callback] = split(rest);
    this.#with(sql, callback, (statement) => {
      statement.all(parameters, callback);
    });
  }

  run(sql: string, ...rest: Rest): void {
    const [parameters, callback] = split(rest);
    this.#with(sql, callback, (statement) => {
      statement.run(parameters, callback);
    });
  }

  override close(callback?: (error: Error | null) => void): void {
    this.#closing = true;
    for (const statement of this.#kept.values()) statement.finalize();
    this.#kept.clear();
    super.close(callback);
  }

  #with(sql: string, callback: Callback, use: (statement: Statement) => void): void {
    const kept = this.#kept.get(sql);
    if (kept !== undefined) {
      this.#keep(sql, kept);
      use(kept);
      return;
    }
    const statement = this.prepare(sql, (error) => {
      if (error !== null) {
        callback.call(statement, error);
        return;
      }
      use(statement);
      // What was asked of a statement is done before it is finalized. Another caller may have prepared the same meanwhile. One that
      // was being prepared when the connection began to close would keep it open: SQLITE_BUSY.
      if (!this.#closing && repeated.test(sql) && !this.#kept.has(sql)) this.#keep(sql, statement);
      else statement.finalize();
    });
  }

  #keep(sql: string, statement: Statement): void {
    this.#kept.delete(sql);
    this.#kept.set(sql, statement);
    const [oldest] = this.#kept;
    if (oldest === undefined || this.#kept.size <= mostStatements) return;
    this.#kept.delete(oldest[0]);
    oldest[1].finalize();
  }
}

function split(rest: Rest): [parameters: readonly unknown[], callback: Callback] {
  const [first, second] = rest;
  return typeof first === "function" ? [[], first] : [first ?? [], second ?? (() => undefined)];
}

/** The driver as TypeORM wants it. It calls verbose(), which would make a stack trace for every statement: not here. */
export const cachingDriver: object = { ...sqlite3, Database: CachingConnection, verbose: () => cachingDriver };
