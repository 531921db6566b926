import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  Consistency,
  GroupSnapshotSchema,
  SnapshotSchema,
  SnapshotSpaceSchema,
  SnapshotState,
  type GroupSnapshot,
  type Snapshot,
} from "@zfsilo/api";
import type { OperationId, VolumeId } from "@zfsilo/lib";
import type { Consistency as ConsistencyWord, GroupSnapshotRecord, SnapshotRecord, SnapshotState as StateWord } from "../../store/model.ts";
import { conditionToMessage } from "./condition.ts";

const consistency = {
  crash: Consistency.CRASH,
  filesystem: Consistency.FILESYSTEM,
} as const satisfies Record<ConsistencyWord, Consistency>;

const state = {
  ready: SnapshotState.READY,
  tombstoned: SnapshotState.TOMBSTONED,
} as const satisfies Record<Exclude<StateWord, "creating">, SnapshotState>;

export function snapshotToMessage(snapshot: SnapshotRecord, clones: readonly VolumeId[], operation?: OperationId): Snapshot {
  const { space, groupId } = snapshot;
  const condition = conditionToMessage(snapshot.condition);
  return create(SnapshotSchema, {
    name: `snapshots/${snapshot.id}`,
    handle: snapshot.handle,
    volume: `volumes/${snapshot.volumeId}`,
    displayName: snapshot.displayName,
    labels: { ...snapshot.labels },
    consistency: consistency[snapshot.consistency],
    state: snapshot.state === "creating" ? SnapshotState.UNSPECIFIED : state[snapshot.state],
    capacityBytes: snapshot.capacityBytes,
    ...(space && {
      space: create(SnapshotSpaceSchema, {
        usedBytes: space.usedBytes,
        referencedBytes: space.referencedBytes,
        writtenBytes: space.writtenBytes,
        observeTime: timestampFromDate(space.observedAt),
      }),
    }),
    holds: [...snapshot.holds],
    clones: clones.map((id) => `volumes/${id}`),
    groupSnapshot: groupId === "" ? "" : `groupSnapshots/${groupId}`,
    host: `hosts/${snapshot.hostId}`,
    dataset: `${snapshot.dataset}@${snapshot.handle}`,
    ...(condition && { condition }),
    revision: BigInt(snapshot.revision),
    createTime: timestampFromDate(snapshot.createdAt),
    operation: operation === undefined ? "" : `operations/${operation}`,
  });
}

export function groupSnapshotToMessage(group: GroupSnapshotRecord, operation?: OperationId): GroupSnapshot {
  return create(GroupSnapshotSchema, {
    name: `groupSnapshots/${group.id}`,
    volumes: group.volumeIds.map((id) => `volumes/${id}`),
    snapshots: group.snapshotIds.map((id) => `snapshots/${id}`),
    displayName: group.displayName,
    labels: { ...group.labels },
    consistency: consistency[group.consistency],
    host: `hosts/${group.hostId}`,
    createTime: timestampFromDate(group.createdAt),
    operation: operation === undefined ? "" : `operations/${operation}`,
  });
}
