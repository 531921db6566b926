import { StorageError, type OperationId, type SnapshotId } from "@zfsilo/lib";
import type { SnapshotRecord } from "../store/model.ts";
import type { WorkflowDeps } from "../workflow/deps.ts";

/** What a call that changes a snapshot answers. */
export interface SnapshotAnswer {
  readonly snapshot: SnapshotRecord;
  readonly operation: OperationId | undefined;
}

/** One that is being taken is not there yet for anybody. A tombstone can be looked at. */
export async function visibleSnapshot({ snapshots }: Pick<WorkflowDeps, "snapshots">, id: SnapshotId): Promise<SnapshotRecord> {
  const snapshot = await snapshots.get(id);
  if (snapshot.state !== "creating") return snapshot;
  throw new StorageError("not_found", `snapshots/${id} does not exist yet`, {
    details: { snapshot: `snapshots/${id}` },
    hint: "It is being taken. Repeat CreateSnapshot with the same id to wait for it.",
  });
}

/** One that can be used. The error names `field`. */
export async function readySnapshot(deps: Pick<WorkflowDeps, "snapshots">, id: SnapshotId, field: string): Promise<SnapshotRecord> {
  const snapshot = await deps.snapshots.find(id);
  if (snapshot?.state === "ready") return snapshot;
  const why = snapshot?.state === "tombstoned" ? "was deleted, and lives on for its clones alone" : "does not exist";
  throw new StorageError("not_found", `${field}: snapshots/${id} ${why}`, { details: { field, snapshot: `snapshots/${id}` } });
}
