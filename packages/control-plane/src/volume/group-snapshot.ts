import { invalidField, newId, newSnapshotHandle, StorageError, type GroupSnapshotId, type OperationId, type VolumeId } from "@zfsilo/lib";
import { fingerprint } from "../operation/fingerprint.ts";
import type { Consistency, GroupSnapshotRecord, VolumeRecord } from "../store/model.ts";
import { createGroupSnapshot } from "../workflow/create-group-snapshot.ts";
import { deleteGroupSnapshot } from "../workflow/delete-group-snapshot.ts";
import type { WorkflowDeps } from "../workflow/deps.ts";
import { freezesFor } from "./consistency.ts";
import { inUse } from "./dependants.ts";
import { isOfEarlierVolume, refuseHeld } from "./snapshot.ts";
import { readyVolume, type RequestDeps } from "./volume-requests.ts";

/** A checked CreateGroupSnapshot request. */
export interface CreateGroupSnapshotInput {
  readonly id: GroupSnapshotId;
  /** None twice. */
  readonly volumeIds: readonly VolumeId[];
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly consistency: Consistency;
  readonly freezeLimitMs: number;
}

export interface GroupSnapshotAnswer {
  readonly group: GroupSnapshotRecord;
  readonly operation: OperationId | undefined;
}

const field = "group_snapshot.volumes";

/** The same id for the same volumes, in whatever order, is the same group. */
export async function requestCreateGroupSnapshot(deps: RequestDeps, input: CreateGroupSnapshotInput): Promise<GroupSnapshotAnswer> {
  const { id, ...asked } = input;
  const { volumeIds, displayName, labels, consistency, freezeLimitMs } = input;
  const requestFingerprint = fingerprint({ volumeIds: [...volumeIds].sort(), consistency });
  const holds = volumeIds.map((volume) => `volumes/${volume}`);
  const request = { subject: `groupSnapshots/${id}`, holds, kind: createGroupSnapshot.kind, input: asked };
  return deps.operations.submit(request, async (begin) => {
    const existing = await deps.groups.find(id);
    if (existing !== undefined) {
      const same = existing.requestFingerprint === requestFingerprint;
      if (same && !(await isOfEarlierVolumes(deps, existing))) return { group: existing, operation: undefined };
      throw new StorageError("already_exists", `groupSnapshots/${id} exists, of other volumes or with another consistency`, {
        details: { field: "group_snapshot_id", groupSnapshot: `groupSnapshots/${id}` },
        hint: "Choose another group_snapshot_id, or repeat the request exactly as it was made.",
      });
    }
    const volumes = await Promise.all(volumeIds.map((volume, index) => readyVolume(deps, volume, `${field}[${index}]`)));
    const { hostId, pool } = oneAtomicSnapshot(volumes);
    const { operation } = await begin(createGroupSnapshot, {
      groupId: id,
      members: volumes.map((volume) => ({
        snapshotId: newId("snapshot"),
        handle: newSnapshotHandle(),
        volumeId: volume.id,
        dataset: volume.dataset,
      })),
      displayName,
      labels: { ...labels },
      hostId,
      pool,
      consistency,
      freezes: volumes.flatMap((volume) => freezesFor(volume, consistency, "group_snapshot.consistency")),
      freezeLimitMs,
      requestFingerprint,
    });
    return { group: await deps.groups.get(id), operation };
  });
}

async function isOfEarlierVolumes(deps: RequestDeps, { snapshotIds }: GroupSnapshotRecord): Promise<boolean> {
  for (const id of snapshotIds) {
    const row = await deps.snapshots.find(id);
    if (row !== undefined && (await isOfEarlierVolume(deps, row))) return true;
  }
  return false;
}

/** `zfs snapshot` is atomic for what it names, and that lies in one pool. */
function oneAtomicSnapshot(volumes: readonly VolumeRecord[]): VolumeRecord {
  const [first] = volumes;
  if (first === undefined) throw invalidField(field, "is empty");
  const stranger = volumes.find(({ hostId, pool }) => hostId !== first.hostId || pool !== first.pool);
  if (stranger === undefined) return first;
  const where = ({ id, hostId, pool }: VolumeRecord): string => `volumes/${id} is in pool ${pool} of hosts/${hostId}`;
  throw invalidField(field, `${where(first)}, ${where(stranger)}`, "The volumes of a group are in one pool: no snapshot spans two at one instant.");
}

/** One that is being taken is not there yet for anybody. */
export async function readyGroup({ groups }: Pick<WorkflowDeps, "groups">, id: GroupSnapshotId): Promise<GroupSnapshotRecord> {
  const group = await groups.get(id);
  if (group.state === "ready") return group;
  throw new StorageError("not_found", `groupSnapshots/${id} does not exist yet`, { details: { groupSnapshot: `groupSnapshots/${id}` } });
}

/** Answers the operation that did it, also to a call that repeats the one which did. */
export async function requestDeleteGroupSnapshot(deps: RequestDeps, id: GroupSnapshotId, allowMissing: boolean): Promise<OperationId | undefined> {
  const holds = ((await deps.groups.find(id))?.snapshotIds ?? []).map((snapshot) => `snapshots/${snapshot}`);
  const request = { subject: `groupSnapshots/${id}`, holds, kind: deleteGroupSnapshot.kind, input: { allowMissing } };
  return deps.operations.submit(request, async (begin, earlier) => {
    const group = await deps.groups.find(id);
    if (group === undefined) {
      const before = await earlier();
      if (before?.state === "succeeded") return before.id;
      if (allowMissing) return undefined;
      return (await deps.groups.get(id), undefined);
    }
    await refuseNeeded(deps, group);
    return (await begin(deleteGroupSnapshot, { groupId: id })).operation;
  });
}

async function refuseNeeded(deps: RequestDeps, { id, snapshotIds }: GroupSnapshotRecord): Promise<void> {
  const doing = `delete groupSnapshots/${id}`;
  for (const snapshotId of snapshotIds) {
    const row = await deps.snapshots.find(snapshotId);
    if (row !== undefined) refuseHeld(`${doing}: snapshots/${snapshotId}`, row.holds);
  }
  const clones = [...(await deps.volumes.clonesOf(snapshotIds)).values()].flat().map((clone) => `volumes/${clone}`);
  if (clones.length > 0) throw inUse(doing, "HAS_CLONES", clones, "Delete them first.");
}
