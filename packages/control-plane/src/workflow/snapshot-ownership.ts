import { parseDatasetName, snapshotOf, type ExpectedSnapshot, type SnapshotName } from "@zfsilo/host";
import type { SnapshotRecord } from "../store/model.ts";
import type { WorkflowDeps } from "./deps.ts";

/** `zfsilo:snapshot` of the snapshots that one command takes: those of a group have it in common. */
export function markOf(snapshot: Pick<SnapshotRecord, "id" | "groupId">): string {
  return snapshot.groupId === "" ? snapshot.id : snapshot.groupId;
}

/** The marks that make a snapshot ours (I1), with its guid once known. */
export function snapshotOwner(
  snapshot: Pick<SnapshotRecord, "id" | "groupId" | "zfsGuid">,
  { clusterId }: Pick<WorkflowDeps, "clusterId">,
): ExpectedSnapshot {
  return { snapshot: markOf(snapshot), cluster: clusterId, ...(snapshot.zfsGuid === "" ? {} : { guid: snapshot.zfsGuid }) };
}

export function zfsNameOf({ dataset, handle }: Pick<SnapshotRecord, "dataset" | "handle">): SnapshotName {
  return snapshotOf(parseDatasetName(dataset), handle);
}
