import { StorageError, type Logger } from "@zfsilo/lib";
import type { SecretKey } from "../secret-key.ts";
import { SqlAgentStore } from "./agent-store.ts";
import { openDatabase, type Database } from "./database.ts";
import { SqlGroupSnapshotStore } from "./group-snapshot-store.ts";
import { SqlHostStore } from "./host-store.ts";
import { SqlJoinTokenStore } from "./join-token-store.ts";
import { Lease, type Query } from "./lease.ts";
import { SqlLeftoverStore } from "./leftover-store.ts";
import { SqlOperationStore } from "./operation-store.ts";
import { PageTokens } from "./query/page-token.ts";
import { SecretBox } from "./secret-box.ts";
import { SettingsStore } from "./settings-store.ts";
import { SqlSnapshotStore } from "./snapshot-store.ts";
import type { AgentStore, GroupSnapshotStore, HostStore, JoinTokenStore, LeftoverStore, OperationStore, SnapshotStore, VolumeStore } from "./stores.ts";
import { SqlVolumeStore } from "./volume-store.ts";

export interface Stores {
  readonly volumes: VolumeStore;
  readonly hosts: HostStore;
  readonly snapshots: SnapshotStore;
  readonly groups: GroupSnapshotStore;
  readonly operations: OperationStore;
  readonly settings: SettingsStore;
  readonly agents: AgentStore;
  readonly joinTokens: JoinTokenStore;
  readonly leftovers: LeftoverStore;
  /** Why nothing can be stored at the moment, when that is so. */
  problem(): StorageError | undefined;
  /** Waits for writes that are under way. */
  close(): Promise<void>;
}

export interface OpenStoresOptions {
  readonly file: string;
  /** A function makes the key of a new installation. It is called once the tables are there, and never for a database that a key has sealed. */
  readonly key: SecretKey | (() => Promise<SecretKey>);
  readonly log: Logger;
  /** Without one nothing keeps a second user of the file away. */
  readonly lease?: {
    readonly wait: boolean;
    /** Called once, when somebody else has taken over. Nothing is written any more. */
    readonly onLost: (error: StorageError) => void;
    readonly ttlMs?: number;
  };
}

/** Everything that the control plane keeps, in one SQLite file. */
export async function openStores({ file, key, log, lease: wanted }: OpenStoresOptions): Promise<Stores> {
  let lease: Lease | undefined;
  const database = await openDatabase({
    file,
    log,
    guard: async (query) => {
      requireKey(file, key, await sealOf(query));
      if (wanted !== undefined) lease = await Lease.acquire({ query, log, ...wanted });
    },
  });
  const endLease = lease && wanted ? keepLease(database, lease, wanted.onLost, log) : () => Promise.resolve();
  const settings = new SettingsStore(database);
  let secret: SecretKey;
  try {
    secret = typeof key === "function" ? await key() : key;
    requireKey(file, secret, await settings.choose("secret_key_fingerprint", secret.fingerprint()));
  } catch (error) {
    await endLease();
    await database.close();
    throw error;
  }
  const tokens = new PageTokens(secret.derive("page-tokens"));
  return {
    volumes: new SqlVolumeStore(database, new SecretBox(secret.derive("chap-secrets")), tokens),
    hosts: new SqlHostStore(database, tokens),
    snapshots: new SqlSnapshotStore(database, tokens),
    groups: new SqlGroupSnapshotStore(database, tokens),
    operations: new SqlOperationStore(database, tokens),
    settings,
    agents: new SqlAgentStore(database),
    joinTokens: new SqlJoinTokenStore(database, tokens),
    leftovers: new SqlLeftoverStore(database),
    problem: () => database.problem,
    async close() {
      await endLease();
      await database.close();
    },
  };
}

/** The fingerprint of the key that sealed the database; undefined for a new one. Asked before anything is changed in it. */
async function sealOf(query: Query): Promise<string | undefined> {
  const tables = await query<unknown>(`select 1 from sqlite_master where type = 'table' and name = 'settings'`);
  if (tables.length === 0) return undefined;
  return (await query<{ value: string }>(`select "value" from "settings" where "key" = 'secret_key_fingerprint'`))[0]?.value;
}

/** Found out here, and not when a volume can no longer be attached because its secrets cannot be opened. */
function requireKey(file: string, key: OpenStoresOptions["key"], seal: string | undefined): void {
  if (seal === undefined || (typeof key !== "function" && key.fingerprint() === seal)) return;
  const why = typeof key === "function" ? "was sealed with a secret key that is missing" : "was sealed with another secret key";
  throw new StorageError("precondition", `${file} ${why}`, {
    details: { reason: "SECRET_KEY_MISMATCH" },
    hint: "Restore secret.key beside it, or set ZFSILO_SECRET_KEY to the key that was used before. Nothing was changed.",
  });
}

/** Renews the lease until the returned function lets go of it. Each renewal also tells whether the database can be written. */
function keepLease(database: Database, lease: Lease, onLost: (error: StorageError) => void, log: Logger): () => Promise<void> {
  const query: Query = (sql, parameters = []) => database.writeFirst((manager) => manager.query(sql, [...parameters]));
  database.guardWrites(() => { lease.assertHeld(); });
  const renew = async (): Promise<void> => {
    try {
      if (await lease.renew(query)) return;
      clearInterval(timer);
      lease.assertHeld();
    } catch (error) {
      log.error({ err: error }, "the lease on the database could not be renewed");
      if (error instanceof StorageError && error.details["reason"] === "LEASE_LOST") onLost(error);
    }
  };
  const timer = setInterval(() => void renew(), lease.renewEveryMs);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await lease.release(query).catch((error: unknown) => {
      log.warn({ err: error }, "the lease on the database could not be given back; it expires");
    });
  };
}
