import { parseDatasetName, type ZfsSnapshot } from "@zfsilo/host";
import { reasonOf, StorageError, type VolumeId } from "@zfsilo/lib";
import type { SnapshotRecord, VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "./deps.ts";
import { zfsNameOf } from "./snapshot-ownership.ts";

/**
 * Snapshots on a volume's dataset that others took (sanoid, zfs-auto-snapshot, a person), oldest first: all that we have no record
 * of. One command. A dataset that is gone has none.
 */
export async function foreignSnapshotsOf(
  { machines, snapshots }: Pick<WorkflowDeps, "machines" | "snapshots">,
  { hostId, dataset }: Pick<VolumeRecord, "hostId" | "dataset">,
  signal: AbortSignal,
): Promise<readonly ZfsSnapshot[]> {
  const ours = new Set<string>((await snapshots.ofDataset(hostId, dataset)).map((row: SnapshotRecord) => zfsNameOf(row)));
  const machine = await machines.get(hostId);
  try {
    return (await machine.snapshots.listOf(parseDatasetName(dataset), { signal })).filter(({ name }) => !ours.has(name));
  } catch (error) {
    if (reasonOf(error) === "not_found") return [];
    throw error;
  }
}

const mostNamed = 20;

/** Refuses to destroy a volume, naming them and what others made of them. */
export function foreignInTheWay(id: VolumeId, foreign: readonly ZfsSnapshot[]): StorageError {
  const names = foreign.map(({ name, clones }) => (clones.length === 0 ? name : `${name} (cloned as ${clones.join(", ")})`));
  const more = names.length - mostNamed;
  const shown = more > 0 ? `${names.slice(0, mostNamed).join(", ")} and ${more} more` : names.join(", ");
  return new StorageError("has_dependents", `delete volumes/${id}: its dataset has snapshots that zfsilo did not take: ${shown}`, {
    details: { reason: "HAS_SNAPSHOTS", volume: `volumes/${id}`, dependants: shown },
    hint: "Nothing was destroyed. Destroy them on the host, or set delete_foreign_snapshots; keep snapshot tools off zfsilo's datasets (docs/snapshots.md).",
  });
}
