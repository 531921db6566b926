import { StorageError, type SnapshotId, type VolumeId } from "@zfsilo/lib";
import { requireCurrent } from "../reconcile/current.ts";
import type { SnapshotRecord, VolumeRecord } from "../store/model.ts";
import { rollbackVolume } from "../workflow/rollback-volume.ts";
import type { Answer } from "./answer.ts";
import { dependantsOf, inUse, listed, namesOf, requireUnchanged, type Dependant } from "./dependants.ts";
import { readySnapshot } from "./snapshot-requests.ts";
import { refuseHeld } from "./snapshot.ts";
import { readyVolume, runOn, type RequestDeps } from "./volume-requests.ts";

export interface RollbackInput {
  readonly snapshotId: SnapshotId;
  readonly destroyLater: boolean;
  /** Later snapshots that others took go as well. */
  readonly deleteForeign?: boolean;
}

/** Takes the volume back to one of its snapshots. What would be lost besides what was written is named first. */
export async function requestRollback(deps: RequestDeps, id: VolumeId, input: RollbackInput): Promise<Answer> {
  const { snapshotId, destroyLater, deleteForeign = false } = input;
  const holds = subjects(await dependantsOf(deps, await readyVolume(deps, id)), snapshotId);
  return deps.operations.submit({ subject: `volumes/${id}`, holds, kind: rollbackVolume.kind, input }, async (begin, earlier) => {
    const volume = await readyVolume(deps, id);
    // Nothing was done to the volume since: it is as the snapshot is, also when later snapshots have gone with it.
    const before = await earlier();
    if (before?.state === "succeeded") return { volume, operation: before.id };
    // Whoever the record does not know may have the volume mounted: its data would change beneath them.
    await requireCurrent(deps, volume);
    const snapshot = await readySnapshot(deps, snapshotId, "snapshot");
    const dependants = await dependantsOf(deps, volume);
    requireUnchanged(`roll back volumes/${id}`, holds, subjects(dependants, snapshotId));
    refuseStranger(volume, snapshot);
    refuseConnected(volume);
    const later = laterThan(snapshot, dependants);
    refuseLater(volume, later, destroyLater);
    const destroyed = later.map((one) => one.snapshot.id);
    return runOn(deps, id, begin, rollbackVolume, { volumeId: id, snapshotId, destroyed, destroyForeign: deleteForeign });
  });
}

function subjects(dependants: readonly Dependant[], snapshotId: SnapshotId): string[] {
  return [...new Set([snapshotId, ...dependants.map(({ snapshot }) => snapshot.id)])].map((id) => `snapshots/${id}`);
}

/** ZFS takes a volume back only to a snapshot that it holds itself: one that a clone has taken over is the clone's. */
function refuseStranger(volume: VolumeRecord, { id, hostId, dataset }: SnapshotRecord): void {
  if (hostId === volume.hostId && dataset === volume.dataset) return;
  throw new StorageError("precondition", `snapshot: snapshots/${id} is none that volumes/${volume.id} holds`, {
    details: { field: "snapshot", snapshot: `snapshots/${id}`, volume: `volumes/${volume.id}` },
    hint: "Create a volume from that snapshot instead.",
  });
}

function refuseConnected(volume: VolumeRecord): void {
  const hosts = volume.attachments.map(({ hostId }) => `hosts/${hostId}`);
  if (hosts.length === 0) return;
  throw new StorageError("precondition", `roll back volumes/${volume.id}: it is connected to ${hosts.join(", ")}`, {
    details: { field: "name", volume: `volumes/${volume.id}` },
    hint: "Call UnmountVolume, UnstageVolume and DisconnectVolume first.",
  });
}

function laterThan({ createTxg }: SnapshotRecord, all: readonly Dependant[]): Dependant[] {
  return all.filter(({ snapshot }) => snapshot.createTxg !== "" && BigInt(snapshot.createTxg) > BigInt(createTxg));
}

function refuseLater(volume: VolumeRecord, later: readonly Dependant[], destroyLater: boolean): void {
  const doing = `roll back volumes/${volume.id}`;
  if (later.length === 0) return;
  if (!destroyLater) {
    throw new StorageError("has_dependents", `${doing}: later snapshots exist: ${listed(namesOf(later))}`, {
      details: { reason: "LATER_SNAPSHOTS", volume: `volumes/${volume.id}`, dependants: listed(namesOf(later)) },
      hint: "Set destroy_later_snapshots to lose them too, or create a volume from the snapshot.",
    });
  }
  const clones = later.flatMap((one) => one.clones.map((clone) => `volumes/${clone}`));
  if (clones.length > 0) throw inUse(doing, "HAS_CLONES", clones, "Later snapshots have clones, which are never destroyed along.");
  for (const { snapshot } of later) {
    refuseHeld(`${doing}: snapshots/${snapshot.id} would go`, snapshot.holds);
    if (snapshot.groupId !== "") throw inUse(doing, "IN_GROUP", [`groupSnapshots/${snapshot.groupId}`], "A group goes as a whole: call DeleteGroupSnapshot.");
  }
}
