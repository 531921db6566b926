import type { HostId } from "@zfsilo/lib";
import { fromJson, optionalJson } from "./column.ts";
import type { Database } from "./database.ts";
import type { JoinTokenRecord } from "./model.ts";
import { listQuery, type ListOf } from "./query/list-query.ts";
import type { PageTokens } from "./query/page-token.ts";
import type { JoinTokenStore, Page, PageRequest } from "./stores.ts";

interface JoinTokenRow {
  id: string;
  sha256: string;
  host_id: string;
  template: string;
  node_name_pattern: string;
  replace_offline: number;
  max_uses: number;
  uses: number;
  created_at: string;
  expires_at: string;
}

const joinTokenList: ListOf = {
  kind: "joinTokens",
  table: "join_tokens",
  fields: {
    name: { type: "resource", column: "id", prefix: "joinTokens/" },
    create_time: { type: "timestamp", column: "created_at" },
    expire_time: { type: "timestamp", column: "expires_at" },
  },
  orders: { create_time: "created_at", name: "id" },
  defaultOrder: "create_time",
};

export class SqlJoinTokenStore implements JoinTokenStore {
  readonly #database: Database;
  readonly #tokens: PageTokens;

  constructor(database: Database, tokens: PageTokens) {
    this.#database = database;
    this.#tokens = tokens;
  }

  async insert(token: JoinTokenRecord): Promise<void> {
    const { id, sha256, hostId, template, nodeNamePattern, replaceOffline, maxUses, uses, createdAt, expiresAt } = token;
    await this.#database.write((manager) =>
      manager.query(
        `insert into join_tokens (id, sha256, host_id, template, node_name_pattern, replace_offline, max_uses, uses, created_at, expires_at)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        [id, sha256, hostId, optionalJson(template), nodeNamePattern, replaceOffline ? 1 : 0, maxUses, uses, createdAt.toISOString(), expiresAt.toISOString()],
      ),
    );
  }

  async findByHash(sha256: string): Promise<JoinTokenRecord | undefined> {
    return (await this.#database.read<JoinTokenRow>("select * from join_tokens where sha256 = ?", [sha256])).map(tokenFrom)[0];
  }

  async list(request: PageRequest): Promise<Page<JoinTokenRecord>> {
    const query = listQuery(joinTokenList, request, this.#tokens);
    return query.page(await this.#database.read<JoinTokenRow>(query.sql, query.parameters), tokenFrom);
  }

  /** Reads and writes in one turn: two agents that come at once do not both get the last use. */
  claim(id: string, now: Date): Promise<boolean> {
    return this.#database.write(async (manager) => {
      const sql = "select 1 from join_tokens where id = ? and expires_at > ? and (max_uses = 0 or uses < max_uses)";
      if ((await manager.query<unknown[]>(sql, [id, now.toISOString()])).length === 0) return false;
      await manager.query("update join_tokens set uses = uses + 1 where id = ?", [id]);
      return true;
    });
  }

  remove(id: string): Promise<boolean> {
    return this.#database.write(async (manager) => {
      if ((await manager.query<unknown[]>("select 1 from join_tokens where id = ?", [id])).length === 0) return false;
      await manager.query("delete from join_tokens where id = ?", [id]);
      return true;
    });
  }

  async prune(before: Date): Promise<void> {
    await this.#database.write((manager) => manager.query("delete from join_tokens where expires_at < ?", [before.toISOString()]));
  }
}

function tokenFrom(row: JoinTokenRow): JoinTokenRecord {
  return {
    id: row.id,
    sha256: row.sha256,
    hostId: row.host_id as HostId | "",
    template: row.template === "" ? undefined : fromJson(row.template),
    nodeNamePattern: row.node_name_pattern,
    replaceOffline: row.replace_offline === 1,
    maxUses: row.max_uses,
    uses: row.uses,
    createdAt: new Date(row.created_at),
    expiresAt: new Date(row.expires_at),
  };
}
