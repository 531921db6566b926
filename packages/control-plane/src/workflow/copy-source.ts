import { BugError, type SnapshotId } from "@zfsilo/lib";
import type { StepIo } from "@zfsilo/try";
import { z } from "zod";
import { copyModes, volumeModes, type SnapshotRecord, type VolumeRecord } from "../store/model.ts";
import { snapshotHandle, snapshotId, volumeId } from "./context.ts";
import { forgetVolume, newVolumeRecord, volumeFields } from "./create-volume.ts";
import type { WorkflowDeps } from "./deps.ts";
import { snapshotOwner, zfsNameOf } from "./snapshot-ownership.ts";
import { destroyTaken, recordAfter, recordBefore, taken, takeSnapshots, type Member } from "./take-snapshots.ts";

const filesystemContent = z.object({
  type: z.enum(["ext4", "xfs"]),
  mkfsOptions: z.record(z.string(), z.string()),
  mountOptions: z.array(z.string()),
  uuid: z.string(),
  formatted: z.boolean(),
  unclean: z.boolean(),
  layout: z.object({ blockBytes: z.number(), wide: z.boolean() }).exactOptional(),
});

/** What a volume that is made of another one's content is made with. */
export const copyContext = z.object({
  ...volumeFields,
  source: z.object({ kind: z.enum(["snapshot", "volume"]), id: z.string(), copyMode: z.enum(copyModes) }),
  /** The snapshot it is made of: the source itself, or one of the source that is taken for it and goes with it. */
  snapshot: z.object({ snapshotId, handle: snapshotHandle, volumeId, dataset: z.string() }),
  content: z.object({ mode: z.enum(volumeModes), filesystem: filesystemContent.optional() }),
  /** Of a snapshot that is taken for it, once it is. */
  taken: taken.optional(),
});

export type CopyContext = z.infer<typeof copyContext>;
type Io = StepIo<WorkflowDeps>;

/** Rows first: a snapshot that is deleted at the same time finds its clone recorded. */
export async function recordCopy(c: CopyContext, { deps }: Io): Promise<undefined> {
  if (takesSnapshot(c) && (await deps.snapshots.find(c.snapshot.snapshotId)) === undefined) {
    const recording = { displayName: "", labels: {}, consistency: "crash", requestFingerprint: "" } as const;
    await deps.snapshots.insert([recordBefore(await deps.volumes.get(c.snapshot.volumeId), c.snapshot, recording)]);
  }
  if ((await deps.volumes.find(c.volumeId))?.handle === c.handle) return;
  const source = { kind: c.source.kind, id: c.source.id, copyMode: c.source.copyMode } as NonNullable<VolumeRecord["source"]>;
  const origin = c.source.copyMode === "clone" ? c.snapshot.snapshotId : "";
  await deps.volumes.insert(newVolumeRecord(c, { filesystem: c.content.filesystem, source, origin }));
}

export async function forgetCopy(c: CopyContext, io: Io): Promise<void> {
  await forgetVolume(c, io);
  if (takesSnapshot(c)) await io.deps.snapshots.remove([c.snapshot.snapshotId]);
}

/** A volume as the source: what it holds at this moment. A snapshot as the source is looked at, and must be ours. */
export async function takeSource(c: CopyContext, { deps, signal }: Io): Promise<Partial<CopyContext> | undefined> {
  if (!takesSnapshot(c)) {
    const row = await deps.snapshots.get(c.snapshot.snapshotId);
    const { snapshots } = await deps.machines.get(row.hostId);
    snapshots.requireOwner(await snapshots.get(zfsNameOf(row), { signal }), snapshotOwner(row, deps));
    return undefined;
  }
  const [only] = await takeSnapshots(deps, { ...takingOf(c), freezes: [], freezeLimitMs: 0 }, signal);
  return only === undefined ? undefined : { taken: only };
}

export async function giveSourceBack(c: CopyContext, { deps, signal }: Io): Promise<void> {
  if (takesSnapshot(c)) await destroyTaken(deps, takingOf(c), signal);
}

export function takesSnapshot({ source }: CopyContext): boolean {
  return source.kind === "volume";
}

function takingOf({ hostId, snapshot }: CopyContext): { hostId: CopyContext["hostId"]; mark: SnapshotId; members: readonly Member[] } {
  return { hostId, mark: snapshot.snapshotId, members: [snapshot] };
}

/** What is recorded of the snapshot that was taken for it. */
export function takenChange(c: CopyContext, row: SnapshotRecord): ReturnType<typeof recordAfter> {
  if (c.taken === undefined) throw new BugError(`snapshots/${row.id} was not taken before it is recorded`);
  return recordAfter(row, c.taken);
}

/** User properties of a zvol of ours that holds the content. */
export function marksOf(c: CopyContext, cluster: string): Record<"zfsilo:volume" | "zfsilo:cluster", string> & { "zfsilo:formatted"?: string } {
  const { filesystem } = c.content;
  const formatted = filesystem?.formatted === true ? { "zfsilo:formatted": `${filesystem.type}:${filesystem.uuid}` } : {};
  return { "zfsilo:volume": c.volumeId, "zfsilo:cluster": cluster, ...formatted };
}
