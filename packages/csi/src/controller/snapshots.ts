import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { ClonePolicy, Consistency, csi, type Snapshot } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import type { ControlPlane } from "../control-plane.ts";
import { answered } from "../control-plane-error.ts";
import { checkId, checkName, idForName, idOf, isId, requireText, snapshotName, volumeName } from "../names.ts";
import { pageSize, withToken } from "./list-volumes.ts";
import { parseSnapshotParameters, type SnapshotParameters } from "./parameters.ts";

export const consistencies = {
  crash: Consistency.CRASH,
  filesystem: Consistency.FILESYSTEM,
} as const satisfies Record<SnapshotParameters["consistency"], Consistency>;

export async function createSnapshot(
  { snapshots }: ControlPlane,
  request: csi.CreateSnapshotRequest,
  signal: AbortSignal,
): Promise<csi.CreateSnapshotResponse> {
  const name = checkName(request.name);
  const volume = volumeName(checkId(request.sourceVolumeId, "source_volume_id"));
  const { consistency, labels } = parseSnapshotParameters(request.parameters);
  const wanted = { volume, displayName: name, labels, consistency: consistencies[consistency] };
  const { snapshot } = await snapshots.createSnapshot({ snapshotId: idForName(name), snapshot: wanted }, { signal });
  return create(csi.CreateSnapshotResponseSchema, { snapshot: snapshotToCsi(required(snapshot)) });
}

/** A snapshot that volumes were cloned from is hidden at once and goes with the last of them: nobody has to wait for that. */
export async function deleteSnapshot(
  { snapshots }: ControlPlane,
  { snapshotId }: csi.DeleteSnapshotRequest,
  signal: AbortSignal,
): Promise<csi.DeleteSnapshotResponse> {
  requireText(snapshotId, "snapshot_id");
  if (isId(snapshotId)) {
    const clonePolicy = ClonePolicy.TOMBSTONE;
    await snapshots.deleteSnapshot({ name: snapshotName(snapshotId), allowMissing: true, clonePolicy }, { signal });
  }
  return create(csi.DeleteSnapshotResponseSchema);
}

export async function getSnapshot(
  controlPlane: ControlPlane,
  { snapshotId }: csi.GetSnapshotRequest,
  signal: AbortSignal,
): Promise<csi.GetSnapshotResponse> {
  const { snapshot } = await controlPlane.snapshots.getSnapshot({ name: snapshotName(checkId(snapshotId, "snapshot_id")) }, { signal });
  return create(csi.GetSnapshotResponseSchema, { snapshot: snapshotToCsi(required(snapshot)) });
}

export async function listSnapshots(
  { snapshots }: ControlPlane,
  request: csi.ListSnapshotsRequest,
  signal: AbortSignal,
): Promise<csi.ListSnapshotsResponse> {
  const { snapshotId, sourceVolumeId } = request;
  if (snapshotId !== "") {
    const found = await findSnapshot({ snapshots }, snapshotId, signal);
    const wanted = found !== undefined && (sourceVolumeId === "" || found.volume === volumeName(sourceVolumeId)) ? [found] : [];
    return create(csi.ListSnapshotsResponseSchema, { entries: wanted.map((snapshot) => ({ snapshot: snapshotToCsi(snapshot) })) });
  }
  if (sourceVolumeId !== "" && !isId(sourceVolumeId)) return create(csi.ListSnapshotsResponseSchema);
  const page = {
    pageSize: pageSize(request.maxEntries),
    pageToken: request.startingToken,
    filter: sourceVolumeId === "" ? "" : `volume = "${volumeName(sourceVolumeId)}"`,
  };
  const found = await withToken(() => snapshots.listSnapshots(page, { signal }));
  return create(csi.ListSnapshotsResponseSchema, {
    entries: found.snapshots.map((snapshot) => ({ snapshot: snapshotToCsi(snapshot) })),
    nextToken: found.nextPageToken,
  });
}

async function findSnapshot(
  { snapshots }: Pick<ControlPlane, "snapshots">,
  snapshotId: string,
  signal: AbortSignal,
): Promise<Snapshot | undefined> {
  if (!isId(snapshotId)) return undefined;
  try {
    return (await snapshots.getSnapshot({ name: snapshotName(snapshotId) }, { signal })).snapshot;
  } catch (error) {
    if (answered(error, Code.NotFound)) return undefined;
    throw error;
  }
}

export function snapshotToCsi(snapshot: Snapshot): csi.Snapshot {
  return create(csi.SnapshotSchema, {
    snapshotId: idOf(snapshot.name),
    sourceVolumeId: idOf(snapshot.volume),
    sizeBytes: snapshot.capacityBytes,
    readyToUse: true,
    groupSnapshotId: idOf(snapshot.groupSnapshot),
    ...(snapshot.createTime && { creationTime: snapshot.createTime }),
  });
}

function required(snapshot: Snapshot | undefined): Snapshot {
  if (snapshot !== undefined) return snapshot;
  throw new StorageError("internal", "the control plane answered without a snapshot");
}
