import type { HostId, VolumeId } from "@zfsilo/lib";
import type { Database } from "./database.ts";
import type { LeftoverRecord } from "./model.ts";
import type { LeftoverStore } from "./stores.ts";

interface LeftoverRow {
  readonly host_id: string;
  readonly target_name: string;
  readonly volume_id: string;
  readonly created_at: string;
}

export class SqlLeftoverStore implements LeftoverStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async put({ hostId, targetName, volumeId, createdAt }: LeftoverRecord): Promise<void> {
    const sql = "insert into leftovers values (?, ?, ?, ?) on conflict (host_id, target_name) do nothing";
    await this.#database.write((manager) => manager.query(sql, [hostId, targetName, volumeId, createdAt.toISOString()]));
  }

  async find(host: HostId, targetName: string): Promise<LeftoverRecord | undefined> {
    const sql = "select * from leftovers where host_id = ? and target_name = ?";
    const [row] = await this.#database.read<LeftoverRow>(sql, [host, targetName]);
    return row && leftoverFrom(row);
  }

  async all(): Promise<readonly LeftoverRecord[]> {
    return (await this.#database.read<LeftoverRow>("select * from leftovers order by created_at")).map(leftoverFrom);
  }

  async remove(host: HostId, targetName: string): Promise<void> {
    if ((await this.find(host, targetName)) === undefined) return;
    await this.#database.write((manager) =>
      manager.query("delete from leftovers where host_id = ? and target_name = ?", [host, targetName]),
    );
  }
}

function leftoverFrom(row: LeftoverRow): LeftoverRecord {
  return {
    hostId: row.host_id as HostId,
    targetName: row.target_name,
    volumeId: row.volume_id as VolumeId,
    createdAt: new Date(row.created_at),
  };
}
