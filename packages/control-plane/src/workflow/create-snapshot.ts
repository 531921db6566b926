import { StorageError } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { WorkflowDeps } from "./deps.ts";
import { member, recordAfter, recordBefore, snapshotFields, taken, takeSnapshots, undoTaking, type Taking } from "./take-snapshots.ts";

const context = z.object({
  ...snapshotFields,
  member,
  /** Known once taken. */
  taken: taken.optional(),
});

export type CreateSnapshotContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * Takes a snapshot of one volume. Freezing, taking and thawing are one step: a filesystem is frozen for as short as can be, and
 * an undo thaws it whatever else it meets. A failure or crash leaves no row and no snapshot.
 */
export const createSnapshot = buildUp<CreateSnapshotContext, WorkflowDeps>("snapshot.create", context, [
  { name: "record snapshot", do: recordSnapshot, undo: forgetSnapshot },
  { name: "take snapshot", do: takeSnapshot, undo: destroySnapshot },
  { name: "mark ready", do: markReady },
]);

async function recordSnapshot(c: CreateSnapshotContext, { deps }: Io): Promise<undefined> {
  if ((await deps.snapshots.find(c.member.snapshotId))?.handle === c.member.handle) return;
  await deps.snapshots.insert([recordBefore(await deps.volumes.get(c.member.volumeId), c.member, c)]);
}

async function forgetSnapshot({ member: { snapshotId, handle } }: CreateSnapshotContext, { deps }: Io): Promise<void> {
  // The id may belong to another snapshot: only the row of this request is ours.
  const row = await deps.snapshots.find(snapshotId);
  if (row?.handle === handle) await deps.snapshots.remove([snapshotId]);
}

async function takeSnapshot(c: CreateSnapshotContext, { deps, signal }: Io): Promise<Partial<CreateSnapshotContext>> {
  const [only] = await takeSnapshots(deps, takingOf(c), signal);
  return only === undefined ? {} : { taken: only };
}

async function destroySnapshot(c: CreateSnapshotContext, { deps, signal }: Io): Promise<void> {
  await undoTaking(deps, takingOf(c), signal);
}

async function markReady(c: CreateSnapshotContext, { deps }: Io): Promise<undefined> {
  const { snapshotId } = c.member;
  if (c.taken === undefined) throw new StorageError("internal", `snapshots/${snapshotId} was not taken before it is recorded`);
  const row = await deps.snapshots.get(snapshotId);
  await deps.snapshots.update(snapshotId, { ...recordAfter(row, c.taken), state: "ready" });
}

function takingOf(c: CreateSnapshotContext): Taking {
  return { hostId: c.hostId, mark: c.member.snapshotId, members: [c.member], freezes: c.freezes, freezeLimitMs: c.freezeLimitMs };
}
