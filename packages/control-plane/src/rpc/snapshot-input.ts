import { create } from "@bufbuild/protobuf";
import {
  ClonePolicy,
  Consistency,
  GroupSnapshotSchema,
  SnapshotSchema,
  type CreateGroupSnapshotRequest,
  type CreateSnapshotRequest,
} from "@zfsilo/api";
import { invalidField, newId, parseGroupSnapshotId, parseSnapshotId, type VolumeId } from "@zfsilo/lib";
import type { Consistency as ConsistencyWord } from "../store/model.ts";
import type { CreateGroupSnapshotInput } from "../volume/group-snapshot.ts";
import type { RangesAsk } from "../volume/ranges.ts";
import type { CreateSnapshotInput } from "../volume/snapshot.ts";
import { checkDisplayName, checkLabels, parseResourceId, parseVolumeName, refuseOutputOnly } from "./field.ts";

/** Fields that only the server writes, in the words of the messages. */
const outputOnly = [
  ...["name", "handle", "state", "capacityBytes", "space", "holds", "clones", "groupSnapshot"],
  ...["host", "dataset", "condition", "revision", "createTime", "operation"],
] as const;
const groupOutputOnly = ["name", "snapshots", "host", "createTime", "operation"] as const;

const mostVolumes = 64;
const defaultFreezeSeconds = 10;
const mostFreezeSeconds = 60;

export function parseCreateSnapshot(request: CreateSnapshotRequest): CreateSnapshotInput {
  const { snapshotId } = request;
  const snapshot = request.snapshot ?? create(SnapshotSchema);
  refuseOutputOnly(SnapshotSchema, snapshot, outputOnly, "snapshot");
  return {
    id: snapshotId === "" ? newId("snapshot") : parseResourceId("snapshot_id", () => parseSnapshotId(snapshotId)),
    volumeId: parseVolumeName(snapshot.volume, "snapshot.volume"),
    displayName: checkDisplayName(snapshot.displayName, "snapshot.display_name"),
    labels: checkLabels(snapshot.labels, "snapshot.labels"),
    consistency: parseConsistency(snapshot.consistency, "snapshot.consistency"),
    freezeLimitMs: parseFreezeLimit(request.freezeLimitSeconds),
  };
}

export function parseCreateGroupSnapshot(request: CreateGroupSnapshotRequest): CreateGroupSnapshotInput {
  const { groupSnapshotId } = request;
  const group = request.groupSnapshot ?? create(GroupSnapshotSchema);
  refuseOutputOnly(GroupSnapshotSchema, group, groupOutputOnly, "group_snapshot");
  return {
    id: groupSnapshotId === "" ? newId("groupSnapshot") : parseResourceId("group_snapshot_id", () => parseGroupSnapshotId(groupSnapshotId)),
    volumeIds: parseVolumes(group.volumes),
    displayName: checkDisplayName(group.displayName, "group_snapshot.display_name"),
    labels: checkLabels(group.labels, "group_snapshot.labels"),
    consistency: parseConsistency(group.consistency, "group_snapshot.consistency"),
    freezeLimitMs: parseFreezeLimit(request.freezeLimitSeconds),
  };
}

function parseVolumes(names: readonly string[]): VolumeId[] {
  const field = "group_snapshot.volumes";
  if (names.length === 0) throw invalidField(field, "is empty", `Name 1 to ${mostVolumes} volumes of one host.`);
  if (names.length > mostVolumes) throw invalidField(field, `has ${names.length} entries, more than ${mostVolumes}`);
  const ids = names.map((name, index) => parseVolumeName(name, `${field}[${index}]`));
  const twice = ids.findIndex((id, index) => ids.indexOf(id) !== index);
  if (twice !== -1) throw invalidField(`${field}[${twice}]`, `names ${names[twice] ?? ""} a second time`);
  return ids;
}

const consistencyOf: Readonly<Record<number, ConsistencyWord>> = {
  [Consistency.UNSPECIFIED]: "crash",
  [Consistency.CRASH]: "crash",
  [Consistency.FILESYSTEM]: "filesystem",
};

/** proto3 lets any number through: one without a name here is refused. */
function parseConsistency(value: Consistency, field: string): ConsistencyWord {
  const known = consistencyOf[value];
  if (known === undefined) throw invalidField(field, "is unknown");
  return known;
}

function parseFreezeLimit(seconds: number): number {
  if (seconds < 0 || seconds > mostFreezeSeconds) {
    throw invalidField("freeze_limit_seconds", `${seconds} is not from 1 to ${mostFreezeSeconds}, or 0 for ${defaultFreezeSeconds}`);
  }
  return (seconds === 0 ? defaultFreezeSeconds : seconds) * 1000;
}

/** Whether a snapshot with clones is hidden instead of refused. */
export function parseClonePolicy(policy: ClonePolicy): boolean {
  switch (policy) {
    case ClonePolicy.UNSPECIFIED:
    case ClonePolicy.REFUSE:
      return false;
    case ClonePolicy.TOMBSTONE:
      return true;
    default:
      throw invalidField("clone_policy", "is unknown");
  }
}

const defaultRanges = 256;
const mostRanges = 4096;

export function parseRangesAsk(startOffset: bigint, maxRanges: number): RangesAsk {
  if (startOffset < 0n) throw invalidField("start_offset", "is negative");
  if (maxRanges < 0 || maxRanges > mostRanges) throw invalidField("max_ranges", `${maxRanges} is not from 1 to ${mostRanges}, or 0 for ${defaultRanges}`);
  return { startOffset, maxRanges: maxRanges === 0 ? defaultRanges : maxRanges };
}
