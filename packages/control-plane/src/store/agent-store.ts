import { StorageError, type HostId } from "@zfsilo/lib";
import { conditionFrom, optionalJson } from "./column.ts";
import { brokenConstraint, type Database } from "./database.ts";
import type { AgentRecord } from "./model.ts";
import type { AgentStore } from "./stores.ts";

interface AgentRow {
  host_id: string;
  credential: string;
  next_credential: string;
  enrolled_at: string;
  revoked_at: string;
  last_seen_at: string;
  version: string;
  node_name: string;
  problem: string;
}

const columns = ["host_id", "credential", "next_credential", "enrolled_at", "revoked_at", "last_seen_at", "version", "node_name", "problem"] as const;

export class SqlAgentStore implements AgentStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async all(): Promise<readonly AgentRecord[]> {
    return (await this.#database.read<AgentRow>("select * from agents order by host_id")).map(agentFrom);
  }

  async put(agent: AgentRecord): Promise<void> {
    const row = rowOf(agent);
    const updates = columns.slice(1).map((column) => `${column} = excluded.${column}`);
    const sql = `insert into agents (${columns.join(", ")}) values (${columns.map(() => "?").join(", ")})
      on conflict (host_id) do update set ${updates.join(", ")}`;
    try {
      await this.#database.write((manager) => manager.query(sql, columns.map((column) => row[column])));
    } catch (error) {
      if (brokenConstraint(error)?.kind === "unique") throw new StorageError("already_exists", "another host's agent has this credential");
      if (brokenConstraint(error)?.kind !== "foreign_key") throw error;
      throw new StorageError("not_found", `hosts/${agent.hostId} does not exist`, { details: { host: `hosts/${agent.hostId}` } });
    }
  }

  async seen(times: ReadonlyMap<HostId, Date>): Promise<void> {
    if (times.size === 0) return;
    await this.#database.write((manager) =>
      this.#database.atomically(manager, async (transaction) => {
        for (const [host, at] of times) await transaction.query("update agents set last_seen_at = ? where host_id = ?", [at.toISOString(), host]);
      }),
    );
  }
}

function rowOf(agent: AgentRecord): AgentRow {
  return {
    host_id: agent.hostId,
    credential: agent.credential,
    next_credential: agent.nextCredential,
    enrolled_at: agent.enrolledAt.toISOString(),
    revoked_at: agent.revokedAt?.toISOString() ?? "",
    last_seen_at: agent.lastSeenAt?.toISOString() ?? "",
    version: agent.version,
    node_name: agent.nodeName,
    problem: optionalJson(agent.problem),
  };
}

function agentFrom(row: AgentRow): AgentRecord {
  return {
    hostId: row.host_id as HostId,
    credential: row.credential,
    nextCredential: row.next_credential,
    enrolledAt: new Date(row.enrolled_at),
    revokedAt: optionalDate(row.revoked_at),
    lastSeenAt: optionalDate(row.last_seen_at),
    version: row.version,
    nodeName: row.node_name,
    problem: conditionFrom(row.problem),
  };
}

function optionalDate(text: string): Date | undefined {
  return text === "" ? undefined : new Date(text);
}
