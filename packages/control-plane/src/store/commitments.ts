import type { HostId, VolumeId } from "@zfsilo/lib";
import type { Database } from "./database.ts";
import type { Commitment } from "./stores.ts";

/** What the database's triggers have counted, less the volumes in `except`, as of one moment. */
export async function readCommitments(database: Database, except: readonly VolumeId[]): Promise<readonly Commitment[]> {
  const marks = except.map(() => "?").join(", ");
  const rows = await database.read<{ host_id: HostId; parent: string; volumes: number; blocks: string }>(
    `select host_id, parent, volumes, cast(blocks as text) as blocks from commitments
     union all
     select host_id, substr(dataset, 1, length(dataset) - length(handle) - 1), -1, cast(-(cast(capacity as integer) / 512) as text)
     from volumes where id in (${marks})`,
    [...except],
  );
  const sums = new Map<string, Commitment>();
  for (const { host_id: hostId, parent, volumes, blocks } of rows) {
    const key = `${hostId} ${parent}`;
    const sum = sums.get(key) ?? { hostId, parent, volumes: 0, bytes: 0n };
    sums.set(key, { ...sum, volumes: sum.volumes + volumes, bytes: sum.bytes + BigInt(blocks) * 512n });
  }
  return [...sums.values()];
}
