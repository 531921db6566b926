import { openDatabase } from "@zfsilo/control-plane";
import { createLogger, newId, newVolumeHandle } from "@zfsilo/lib";
import { SimWorld } from "@zfsilo/sim-host";
import { join } from "node:path";

type Row = Readonly<Record<string, string | number>>;

/** Rows of one statement: SQLite takes 32,766 parameters (SQLITE_MAX_VARIABLE_NUMBER). */
const rowsPerStatement = 500;

/**
 * Writes so many volumes into the database of a control plane that was started once and stopped: making 100,000 by calls
 * would take the better part of an hour. Returns their datasets.
 */
export async function seedVolumes(dataDir: string, count: number): Promise<readonly string[]> {
  const database = await openDatabase({ file: join(dataDir, "zfsilo.db"), log: createLogger("silent") });
  const rows = Array.from({ length: count }, (_, index) => volumeRow(index));
  await database.write((writer) =>
    database.atomically(writer, async (transaction) => {
      for (let from = 0; from < rows.length; from += rowsPerStatement) {
        const some = rows.slice(from, from + rowsPerStatement);
        const columns = Object.keys(some[0] ?? {});
        const values = some.map(() => `(${columns.map(() => "?").join(", ")})`).join(", ");
        await transaction.query(`insert into volumes (${columns.join(", ")}) values ${values}`, some.flatMap((row) => Object.values(row)));
      }
    }),
  );
  await database.close();
  return rows.map(({ dataset }) => String(dataset));
}

/** Makes the zvols on the simulated target, as CreateVolume would have. */
export async function seedZvols(dataDir: string, datasets: readonly string[], signal: AbortSignal): Promise<void> {
  const world = await SimWorld.open({ file: join(dataDir, "simulated-hosts.jsonl") });
  world.addMachine({ name: "hst_give", pools: [{ name: "tank", sizeBytes: 64n << 30n }], addresses: ["192.0.2.1"] });
  const give = world.executor("hst_give");
  await give.run(["zfs", "create", "tank/zfsilo"], { signal });
  for (const dataset of datasets) {
    const argv = ["zfs", "create", "-s", "-o", "zfsilo:volume=vol_seeded", "-o", "zfsilo:cluster=bench", "-V", "67108864", dataset] as const;
    const { exitCode, stderr } = await give.run(argv, { signal });
    if (exitCode !== 0) throw new Error(`${argv.join(" ")}: exit ${exitCode}: ${stderr}`);
  }
  await world.close();
}

function volumeRow(index: number): Row {
  const handle = newVolumeHandle();
  // A row a second, so that lists by time have something to order.
  const at = new Date(Date.UTC(2026, 0, 1) + index * 1000).toISOString();
  return {
    id: newId("volume"),
    handle,
    display_name: `pvc-${index}`,
    labels: JSON.stringify({ "bench.zfsilo.io/index": String(index) }),
    host_id: "hst_give",
    pool: "tank",
    dataset: `tank/zfsilo/${handle}`,
    // As wide as the column demands: sizes are ordered as texts.
    capacity: String(64 * 1024 * 1024).padStart(19, "0"),
    sparse: 1,
    zfs_options: "{}",
    mode: "filesystem",
    filesystem: JSON.stringify({ type: "ext4", mkfsOptions: {}, mountOptions: [], uuid: "6f6f6f6f-0000-4000-8000-000000000000", formatted: false }),
    transport: "iscsi",
    authentication: "chap",
    state: "ready",
    status: "initial",
    request_fingerprint: "bench",
    target_name: `iqn.2026-01.io.zfsilo:${handle}`,
    published: 0,
    portals: "[]",
    zvol_guid: "",
    generation: 0,
    condition: "",
    revision: 1,
    created_at: at,
    updated_at: at,
  };
}
