import { openDatabase, type Database } from "@zfsilo/control-plane";
import { createLogger, newId, newSnapshotHandle, newVolumeHandle } from "@zfsilo/lib";
import { SimWorld } from "@zfsilo/sim-host";
import { join } from "node:path";

type Row = Record<string, string | number>;

const volumeBytes = 64 * 1024 * 1024;

/** Rows of one statement: SQLite takes 32,766 parameters (SQLITE_MAX_VARIABLE_NUMBER). */
const rowsPerStatement = 500;

export interface Seed {
  readonly count: number;
  /** Also the zvols on the simulated target, marked as CreateVolume would have; without them only the rows. */
  readonly zvols: boolean;
}

/**
 * Gives a control plane that was started once and stopped so many volumes: making 100,000 by calls would take the better
 * part of an hour.
 */
export async function seedVolumes(dataDir: string, { count, zvols }: Seed, signal: AbortSignal): Promise<void> {
  const database = await openSeeded(dataDir);
  const rows = Array.from({ length: count }, (_, index) => volumeRow(index));
  if (zvols) {
    const [setting] = await database.read<{ value: string }>("select value from settings where key = 'cluster_id'");
    await makeZvols(dataDir, rows, setting?.value ?? "", signal);
  }
  await insert(database, { volumes: rows });
  await database.close();
}

/** The same with snapshots, in turns of the volumes. Rows alone. Answers the id of one of the volumes. */
export async function seedSnapshots(
  dataDir: string,
  { count, volumes }: { readonly count: number; readonly volumes: number },
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const database = await openSeeded(dataDir);
  const of = Array.from({ length: volumes }, (_, index) => volumeRow(index));
  const snapshots = Array.from({ length: count }, (_, index) => snapshotRow(index, of[index % volumes] ?? {}));
  await insert(database, { volumes: of, snapshots });
  await database.close();
  return String(of[0]?.["id"]);
}

function openSeeded(dataDir: string): Promise<Database> {
  return openDatabase({ file: join(dataDir, "zfsilo.db"), log: createLogger("silent") });
}

async function insert(database: Database, tables: Readonly<Record<string, readonly Row[]>>): Promise<void> {
  await database.write((writer) =>
    database.atomically(writer, async (transaction) => {
      // Of far more than the pool could hold, if they were filled.
      const pools = JSON.stringify([{ name: "tank", parentDataset: "tank/zfsilo", overcommitRatio: 1000 }]);
      await transaction.query("update hosts set pools = ? where id = 'hst_give'", [pools]);
      for (const [table, rows] of Object.entries(tables)) {
        for (let from = 0; from < rows.length; from += rowsPerStatement) {
          const some = rows.slice(from, from + rowsPerStatement);
          const columns = Object.keys(some[0] ?? {});
          const values = some.map(() => `(${columns.map(() => "?").join(", ")})`).join(", ");
          await transaction.query(`insert into ${table} (${columns.join(", ")}) values ${values}`, some.flatMap((row) => Object.values(row)));
        }
      }
    }),
  );
}

async function makeZvols(dataDir: string, rows: readonly Row[], cluster: string, signal: AbortSignal): Promise<void> {
  const world = await SimWorld.open({ file: join(dataDir, "simulated-hosts.jsonl") });
  world.addMachine({ name: "hst_give", pools: [{ name: "tank", sizeBytes: 64n << 30n }], addresses: ["192.0.2.1"] });
  const give = world.executor("hst_give");
  const zfs = async (...args: string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await give.run(["zfs", ...args], { signal });
    if (exitCode !== 0) throw new Error(`zfs ${args.join(" ")}: exit ${exitCode}: ${stderr}`);
    return stdout.trim();
  };
  await zfs("create", "-o", "mountpoint=none", "-o", "canmount=off", "tank/zfsilo");
  for (const row of rows) {
    const dataset = String(row["dataset"]);
    const marks = ["-o", `zfsilo:volume=${row["id"] ?? ""}`, "-o", `zfsilo:cluster=${cluster}`];
    await zfs("create", "-s", "-V", String(volumeBytes), ...marks, dataset);
    row["zvol_guid"] = await zfs("get", "-Hp", "-o", "value", "guid", dataset);
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
    capacity: String(volumeBytes).padStart(19, "0"),
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

function snapshotRow(index: number, volume: Row): Row {
  const at = new Date(Date.UTC(2026, 0, 2) + index * 1000).toISOString();
  return {
    id: newId("snapshot"),
    handle: newSnapshotHandle(),
    display_name: `nightly-${index}`,
    labels: JSON.stringify({ "bench.zfsilo.io/index": String(index) }),
    volume_id: volume["id"] ?? "",
    host_id: "hst_give",
    pool: "tank",
    dataset: volume["dataset"] ?? "",
    consistency: "crash",
    state: "ready",
    capacity: volume["capacity"] ?? "",
    content: JSON.stringify({ mode: "filesystem", filesystem: JSON.parse(String(volume["filesystem"])) as unknown, zfsOptions: {}, volblocksize: "16384" }),
    zfs_guid: String(index + 1),
    create_txg: String(index + 1),
    space: "",
    holds: "[]",
    group_id: "",
    request_fingerprint: "bench",
    condition: "",
    revision: 1,
    created_at: at,
    updated_at: at,
  };
}
