import { BugError } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import { groupSnapshotId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { member, recordAfter, recordBefore, snapshotFields, taken, takeSnapshots, undoTaking, type Taking } from "./take-snapshots.ts";

const context = z.object({
  ...snapshotFields,
  groupId: groupSnapshotId,
  members: z.array(member),
  /** In the order of members; known once taken. */
  taken: z.array(taken).optional(),
});

export type CreateGroupSnapshotContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * Takes snapshots of several volumes of one pool in one transaction group of ZFS: all at the same instant, all or none. A failure
 * or crash leaves no row and no snapshot.
 */
export const createGroupSnapshot = buildUp<CreateGroupSnapshotContext, WorkflowDeps>("groupSnapshot.create", context, [
  { name: "record snapshots", do: recordGroup, undo: forgetGroup },
  { name: "take snapshots", do: takeGroup, undo: destroyGroup },
  { name: "mark ready", do: markReady },
]);

async function recordGroup(c: CreateGroupSnapshotContext, { deps }: Io): Promise<undefined> {
  if (await isOurs(c, deps)) return;
  const { groupId: id, displayName, labels, consistency, hostId, members, requestFingerprint } = c;
  const rows = await Promise.all(
    members.map(async (one) => recordBefore(await deps.volumes.get(one.volumeId), one, { ...c, groupId: id })),
  );
  const group = {
    id,
    displayName,
    labels,
    consistency,
    hostId,
    volumeIds: members.map(({ volumeId }) => volumeId),
    snapshotIds: members.map(({ snapshotId }) => snapshotId),
    state: "creating",
    requestFingerprint,
    createdAt: new Date(),
  } as const;
  await deps.groups.insert(group, rows);
}

async function forgetGroup(c: CreateGroupSnapshotContext, { deps }: Io): Promise<void> {
  if (await isOurs(c, deps)) await deps.groups.remove(c.groupId);
}

/** The id may belong to another group: ids of its snapshots were made up for this request. */
async function isOurs({ groupId, members }: CreateGroupSnapshotContext, deps: WorkflowDeps): Promise<boolean> {
  return (await deps.groups.find(groupId))?.snapshotIds[0] === members[0]?.snapshotId;
}

async function takeGroup(c: CreateGroupSnapshotContext, { deps, signal }: Io): Promise<Partial<CreateGroupSnapshotContext>> {
  return { taken: await takeSnapshots(deps, takingOf(c), signal) };
}

async function destroyGroup(c: CreateGroupSnapshotContext, { deps, signal }: Io): Promise<void> {
  await undoTaking(deps, takingOf(c), signal);
}

async function markReady(c: CreateGroupSnapshotContext, { deps }: Io): Promise<undefined> {
  const changes = await Promise.all(
    c.members.map(async ({ snapshotId }, index) => {
      const facts = c.taken?.[index];
      if (facts === undefined) throw new BugError(`snapshots/${snapshotId} was not taken before it is recorded`);
      return [snapshotId, { ...recordAfter(await deps.snapshots.get(snapshotId), facts), state: "ready" }] as const;
    }),
  );
  await deps.snapshots.updateAll(new Map(changes));
  const instant = c.taken?.[0]?.createdAt;
  await deps.groups.update(c.groupId, { state: "ready", ...(instant === undefined ? {} : { createdAt: new Date(instant) }) });
}

function takingOf({ hostId, groupId, members, freezes, freezeLimitMs }: CreateGroupSnapshotContext): Taking {
  return { hostId, mark: groupId, members, freezes, freezeLimitMs };
}
