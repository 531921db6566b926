import { StorageError, type Logger } from "@zfsilo/lib";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { judge, ownIdentity, type ProcessIdentity } from "./process-identity.ts";

/** Runs one statement on the connection that writes. */
export type Query = <Row>(sql: string, parameters?: readonly (string | number)[]) => Promise<Row[]>;

export interface LeaseOptions {
  readonly query: Query;
  /** Stand by until the holder is gone, instead of refusing. */
  readonly wait: boolean;
  readonly log: Logger;
  /** Default 6 s: a holder that is killed where nobody can see it keeps others out this long. */
  readonly ttlMs?: number;
  readonly signal?: AbortSignal;
}

interface LeaseRow {
  readonly owner: string;
  readonly holder: string;
  readonly heartbeat_at: number;
}

const defaultTtlMs = 6_000;
const lookEveryMs = 200;

/**
 * One control plane on one database. A row names who holds it; the holder renews its heartbeat several times in the time that
 * others wait for. Others judge it by that alone, on a clock of their own that nobody sets: a heartbeat that stands still for that
 * long is dead, whatever time the holder's clock showed. Each write asks whether the lease is still held, so that a process that
 * was held up for long does not go on unawares.
 */
export class Lease {
  readonly #owner: string;
  readonly #ttlMs: number;
  #renewedWall: number;
  #renewedAt: number;
  #lost: StorageError | undefined;
  #problem: unknown;

  private constructor(owner: string, ttlMs: number) {
    this.#owner = owner;
    this.#ttlMs = ttlMs;
    this.#renewedWall = Date.now();
    this.#renewedAt = performance.now();
  }

  /** Takes the lease. Throws precondition naming the holder when there is one that lives, unless told to wait. */
  static async acquire(options: LeaseOptions): Promise<Lease> {
    const { query, wait, log, ttlMs = defaultTtlMs, signal } = options;
    // Made before migrations, because it also keeps a newer version from migrating under an older one that runs.
    await query(
      `create table if not exists "lease" ("id" integer primary key check ("id" = 1), "owner" text not null, "holder" text not null,
       "heartbeat_at" integer not null, "expires_at" integer not null)`,
    );
    const own = await ownIdentity();
    const owner = randomUUID();
    let first: LeaseRow | undefined;
    const pulse = new Pulse(ttlMs);
    for (;;) {
      const row = (await query<LeaseRow>(`select * from "lease"`))[0];
      const state = row === undefined || pulse.isStill(row) ? "dead" : await judge(JSON.parse(row.holder) as ProcessIdentity, own);
      const lease = new Lease(owner, ttlMs);
      if (state === "dead" && (await take(query, owner, own, row?.owner ?? "", ttlMs))) return lease;
      if (row !== undefined && state !== "dead") {
        // One that cannot be seen lives if it renews.
        const lives = state === "alive" || (first !== undefined && first.owner === row.owner && first.heartbeat_at !== row.heartbeat_at);
        if (lives && !wait) throw heldBy(row);
        if (first === undefined) log.warn({ holder: describe(row) }, "waiting for the lease on the database");
        first ??= row;
      }
      await sleep(lookEveryMs, undefined, signal === undefined ? {} : { signal });
    }
  }

  /** Renews it. Answers false when somebody else has it: it is not ours again until a new start. */
  async renew(query: Query): Promise<boolean> {
    if (this.#lost !== undefined) return false;
    const began = { wall: Date.now(), at: performance.now() };
    try {
      // Counted, so that it changes even while the clock is set back. Versions before this one read expires_at.
      await query(`update "lease" set "heartbeat_at" = "heartbeat_at" + 1, "expires_at" = ? where "owner" = ?`, [
        began.wall + this.#ttlMs,
        this.#owner,
      ]);
      const row = (await query<LeaseRow>(`select * from "lease"`))[0];
      if (row?.owner !== this.#owner) {
        this.#lost = new StorageError("unavailable", `the lease on the database was taken over${row === undefined ? "" : ` by ${describe(row)}`}`, {
          details: { reason: "LEASE_LOST" },
          hint: "Another control plane runs on this database. This one does nothing more.",
        });
        return false;
      }
      [this.#renewedWall, this.#renewedAt, this.#problem] = [began.wall, began.at, undefined];
      return true;
    } catch (error) {
      this.#problem = error;
      throw error;
    }
  }

  /** Throws unless it is certain that nobody else can have it. */
  assertHeld(): void {
    if (this.#lost !== undefined) throw this.#lost;
    // Both clocks: this one stands still while a machine sleeps, and the other may be set back.
    const age = Math.max(Date.now() - this.#renewedWall, performance.now() - this.#renewedAt);
    if (age < this.#ttlMs) return;
    throw new StorageError("unavailable", `the lease on the database was not renewed for ${Math.round(age / 1000)} s`, {
      ...(this.#problem === undefined ? {} : { cause: this.#problem }),
      hint: "The database cannot be written, or the process was held up. It goes on by itself when that has passed.",
    });
  }

  /** How often to renew it. */
  get renewEveryMs(): number {
    return this.#ttlMs / 3;
  }

  async release(query: Query): Promise<void> {
    await query(`delete from "lease" where "owner" = ?`, [this.#owner]);
  }
}

/** Tells whether a holder has stopped renewing, by how long its heartbeat has been seen not to change. */
class Pulse {
  readonly #limitMs: number;
  #last: { readonly beat: string; readonly since: number } | undefined;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  isStill({ owner, heartbeat_at }: LeaseRow): boolean {
    const beat = `${owner} ${heartbeat_at}`;
    if (this.#last?.beat !== beat) this.#last = { beat, since: performance.now() };
    return performance.now() - this.#last.since >= this.#limitMs;
  }
}

/** One statement: of two that find it free, one gets it. */
async function take(query: Query, owner: string, own: ProcessIdentity, from: string, ttlMs: number): Promise<boolean> {
  const now = Date.now();
  await query(
    `insert into "lease" ("id", "owner", "holder", "heartbeat_at", "expires_at") values (1, ?, ?, ?, ?)
     on conflict ("id") do update set "owner" = excluded."owner", "holder" = excluded."holder",
     "heartbeat_at" = excluded."heartbeat_at", "expires_at" = excluded."expires_at" where "lease"."owner" = ?`,
    [owner, JSON.stringify(own), now, now + ttlMs, from],
  );
  return (await query<LeaseRow>(`select * from "lease"`))[0]?.owner === owner;
}

function describe({ holder }: LeaseRow): string {
  const { host, pid } = JSON.parse(holder) as ProcessIdentity;
  return `process ${pid} on ${host}`;
}

function heldBy(row: LeaseRow): StorageError {
  return new StorageError("precondition", `another control plane runs on this database: ${describe(row)}`, {
    details: { reason: "LEASE_HELD" },
    hint: "Stop that one first, use another data directory, or set ZFSILO_WAIT_FOR_LEASE=1 to stand by until it is gone.",
  });
}
