import { newSnapshotHandle, StorageError, type OperationId, type SnapshotId, type VolumeId } from "@zfsilo/lib";
import { fingerprint } from "../operation/fingerprint.ts";
import type { Consistency, SnapshotRecord } from "../store/model.ts";
import { createSnapshot } from "../workflow/create-snapshot.ts";
import { deleteSnapshot } from "../workflow/delete-snapshot.ts";
import { holdSnapshot, releaseSnapshot } from "../workflow/snapshot-holds.ts";
import { freezesFor } from "./consistency.ts";
import { inUse, listed } from "./dependants.ts";
import { readySnapshot, type SnapshotAnswer } from "./snapshot-requests.ts";
import { inTurnOn, readyVolume, type RequestDeps } from "./volume-requests.ts";

/** A checked CreateSnapshot request. */
export interface CreateSnapshotInput {
  readonly id: SnapshotId;
  readonly volumeId: VolumeId;
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly consistency: Consistency;
  readonly freezeLimitMs: number;
}

/** The same id for the same volume and promise is the same snapshot, however often it is asked for. */
export async function requestCreateSnapshot(deps: RequestDeps, input: CreateSnapshotInput): Promise<SnapshotAnswer> {
  const { id, ...asked } = input;
  const { volumeId, displayName, labels, consistency, freezeLimitMs } = input;
  const requestFingerprint = fingerprint({ volumeId, consistency });
  const request = { subject: `snapshots/${id}`, holds: [`volumes/${volumeId}`], kind: createSnapshot.kind, input: asked };
  return deps.operations.submit(request, async (begin) => {
    const existing = await deps.snapshots.find(id);
    if (existing !== undefined) {
      const same = existing.requestFingerprint === requestFingerprint && existing.state === "ready";
      if (same && !(await isOfEarlierVolume(deps, existing))) return { snapshot: existing, operation: undefined };
      throw taken(existing);
    }
    const volume = await readyVolume(deps, volumeId, "snapshot.volume");
    const { operation } = await begin(createSnapshot, {
      member: { snapshotId: id, handle: newSnapshotHandle(), volumeId, dataset: volume.dataset },
      displayName,
      labels: { ...labels },
      hostId: volume.hostId,
      pool: volume.pool,
      consistency,
      freezes: freezesFor(volume, consistency, "snapshot.consistency"),
      freezeLimitMs,
      requestFingerprint,
    });
    return { snapshot: await deps.snapshots.get(id), operation };
  });
}

/** A volume was deleted and left its snapshots to a clone; one that has its id now never had them. */
export async function isOfEarlierVolume({ volumes }: Pick<RequestDeps, "volumes">, { volumeId, hostId, dataset }: SnapshotRecord): Promise<boolean> {
  const volume = await volumes.find(volumeId);
  return volume !== undefined && (volume.hostId !== hostId || volume.dataset !== dataset);
}

function taken({ id, volumeId, consistency, state }: SnapshotRecord): StorageError {
  const what = state === "tombstoned" ? "was deleted, and lives on for its clones" : `is one of volumes/${volumeId}, consistency ${consistency}`;
  return new StorageError("already_exists", `snapshots/${id} exists: it ${what}`, {
    details: { field: "snapshot_id", snapshot: `snapshots/${id}` },
    hint: "Choose another snapshot_id, or repeat the request exactly as it was made.",
  });
}

export interface DeleteSnapshotInput {
  readonly allowMissing: boolean;
  /** Hide it while there are clones, instead of refusing. */
  readonly tombstone: boolean;
}

/** Answers the operation that did it, also to a call that repeats the one which did. */
export async function requestDeleteSnapshot(deps: RequestDeps, id: SnapshotId, input: DeleteSnapshotInput): Promise<OperationId | undefined> {
  const { allowMissing, tombstone } = input;
  const request = { subject: `snapshots/${id}`, kind: deleteSnapshot.kind, input: { allowMissing, tombstone } };
  return deps.operations.submit(request, async (begin, earlier) => {
    const snapshot = await deps.snapshots.find(id);
    if (snapshot?.state !== "ready") {
      const before = await earlier();
      if (before?.state === "succeeded") return before.id;
      // A tombstone was deleted before.
      if (allowMissing) return undefined;
      await readySnapshot(deps, id, "name");
      return undefined;
    }
    await refuseNeeded(deps, snapshot, tombstone);
    return inTurnOn(deps, snapshot.hostId, async () => (await begin(deleteSnapshot, { snapshotId: id, tombstone })).operation);
  });
}

async function refuseNeeded(deps: RequestDeps, { id, holds, groupId }: SnapshotRecord, tombstone: boolean): Promise<void> {
  const doing = `delete snapshots/${id}`;
  if (groupId !== "") throw inUse(doing, "IN_GROUP", [`groupSnapshots/${groupId}`], "A group goes as a whole: call DeleteGroupSnapshot.");
  refuseHeld(doing, holds);
  const clones = (await deps.volumes.clonesOf([id])).get(id) ?? [];
  if (clones.length === 0 || tombstone) return;
  const names = clones.map((clone) => `volumes/${clone}`);
  throw inUse(doing, "HAS_CLONES", names, "Delete them first, or set clone_policy to TOMBSTONE: it goes with the last of them.");
}

export function refuseHeld(doing: string, holds: readonly string[]): void {
  if (holds.length === 0) return;
  throw new StorageError("busy", `${doing}: held by the tags ${listed(holds)}`, {
    details: { reason: "HAS_HOLDS", holds: listed(holds) },
    hint: "Call ReleaseSnapshot for each tag first.",
  });
}

export async function requestHold(deps: RequestDeps, id: SnapshotId, tag: string): Promise<SnapshotAnswer> {
  return changeHold(deps, id, tag, holdSnapshot, true);
}

export async function requestRelease(deps: RequestDeps, id: SnapshotId, tag: string): Promise<SnapshotAnswer> {
  return changeHold(deps, id, tag, releaseSnapshot, false);
}

/** Recorded is not enough (I4): tags are set and taken off by hand too. Both commands are harmless where it is so already. */
async function changeHold(
  deps: RequestDeps,
  id: SnapshotId,
  tag: string,
  workflow: typeof holdSnapshot,
  held: boolean,
): Promise<SnapshotAnswer> {
  return deps.operations.submit({ subject: `snapshots/${id}`, kind: workflow.kind, input: { tag } }, async (begin, earlier) => {
    const snapshot = await readySnapshot(deps, id, "name");
    const before = await earlier();
    if (before?.state === "succeeded" && snapshot.holds.includes(tag) === held) return { snapshot, operation: before.id };
    const { operation } = await begin(workflow, { snapshotId: id, tag });
    return { snapshot: await deps.snapshots.get(id), operation };
  });
}
