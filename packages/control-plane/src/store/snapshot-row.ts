import type { HostId, SnapshotHandle, SnapshotId, VolumeId } from "@zfsilo/lib";
import { capacityColumn, conditionFrom, fromJson, fromOptionalJson, optionalJson } from "./column.ts";
import type { SnapshotRow } from "./entities.ts";
import type { SnapshotRecord, SnapshotSpaceRecord } from "./model.ts";

export function snapshotRow(snapshot: SnapshotRecord): SnapshotRow {
  return {
    id: snapshot.id,
    handle: snapshot.handle,
    display_name: snapshot.displayName,
    labels: JSON.stringify(snapshot.labels),
    volume_id: snapshot.volumeId,
    host_id: snapshot.hostId,
    pool: snapshot.pool,
    dataset: snapshot.dataset,
    consistency: snapshot.consistency,
    state: snapshot.state,
    capacity: capacityColumn(snapshot.capacityBytes),
    content: JSON.stringify(snapshot.content),
    zfs_guid: snapshot.zfsGuid,
    create_txg: snapshot.createTxg,
    space: spaceColumn(snapshot.space),
    holds: JSON.stringify(snapshot.holds),
    group_id: snapshot.groupId,
    request_fingerprint: snapshot.requestFingerprint,
    condition: optionalJson(snapshot.condition),
    revision: snapshot.revision,
    created_at: snapshot.createdAt.toISOString(),
    updated_at: snapshot.updatedAt.toISOString(),
  };
}

export function snapshotFrom(row: SnapshotRow): SnapshotRecord {
  return {
    id: row.id as SnapshotId,
    handle: row.handle as SnapshotHandle,
    displayName: row.display_name,
    labels: fromJson(row.labels),
    volumeId: row.volume_id as VolumeId,
    hostId: row.host_id as HostId,
    pool: row.pool,
    dataset: row.dataset,
    consistency: row.consistency as SnapshotRecord["consistency"],
    state: row.state as SnapshotRecord["state"],
    capacityBytes: BigInt(row.capacity),
    content: fromJson(row.content),
    zfsGuid: row.zfs_guid,
    createTxg: row.create_txg,
    space: spaceFrom(row.space),
    holds: fromJson(row.holds),
    groupId: row.group_id as SnapshotRecord["groupId"],
    requestFingerprint: row.request_fingerprint,
    condition: conditionFrom(row.condition),
    revision: row.revision,
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
  };
}

/** JSON has no integers above 2^53: sizes stand in it as text. */
type StoredSpace = Record<"used" | "referenced" | "written" | "observedAt", string>;

function spaceColumn(space: SnapshotSpaceRecord | undefined): string {
  if (space === undefined) return "";
  const stored: StoredSpace = {
    used: space.usedBytes.toString(),
    referenced: space.referencedBytes.toString(),
    written: space.writtenBytes.toString(),
    observedAt: space.observedAt.toISOString(),
  };
  return JSON.stringify(stored);
}

function spaceFrom(text: string): SnapshotSpaceRecord | undefined {
  const stored = fromOptionalJson<StoredSpace>(text);
  return (
    stored && {
      usedBytes: BigInt(stored.used),
      referencedBytes: BigInt(stored.referenced),
      writtenBytes: BigInt(stored.written),
      observedAt: new Date(stored.observedAt),
    }
  );
}
