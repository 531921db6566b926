import { parseDatasetName, snapshotOf, type SnapshotName, type ZfsSnapshot } from "@zfsilo/host";
import { reasonOf, type HostId } from "@zfsilo/lib";
import { requireAllDone } from "@zfsilo/try";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import type { Consistency, SnapshotContent, SnapshotRecord, VolumeRecord } from "../store/model.ts";
import type { SnapshotChange } from "../store/stores.ts";
import { consistencies } from "../store/model.ts";
import { snapshotHandle, snapshotId, hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { thaw, whileFrozen, type Frozen } from "./freeze.ts";
import { getOwnZvol } from "./ownership.ts";

/** One snapshot to be taken. Its name on the host is chosen before the first step. */
export const member = z.object({ snapshotId, handle: snapshotHandle, volumeId, dataset: z.string() });
export type Member = z.infer<typeof member>;

/** What ZFS says of one that was taken. */
export const taken = z.object({
  guid: z.string(),
  createTxg: z.string(),
  createdAt: z.string(),
  sizeBytes: z.bigint(),
  volblocksize: z.string(),
  usedBytes: z.bigint(),
  referencedBytes: z.bigint(),
  writtenBytes: z.bigint(),
});
export type Taken = z.infer<typeof taken>;

/** Where volumes are mounted read-write, for the filesystems that are to be frozen. */
export const freezes = z.array(z.object({ volumeId, hostId, path: z.string() }));

export const snapshotFields = {
  displayName: z.string(),
  labels: z.record(z.string(), z.string()),
  hostId,
  pool: z.string(),
  consistency: z.enum(consistencies),
  freezes,
  freezeLimitMs: z.number(),
  requestFingerprint: z.string(),
};

export interface Taking {
  readonly hostId: HostId;
  /** `zfsilo:snapshot` of all of them. */
  readonly mark: string;
  readonly members: readonly Member[];
  readonly freezes: readonly Frozen[];
  readonly freezeLimitMs: number;
}

/** Takes all at one instant, the filesystems among them frozen. Done when they are there with our marks. */
export async function takeSnapshots(deps: WorkflowDeps, taking: Taking, signal: AbortSignal): Promise<Taken[]> {
  const machine = await deps.machines.get(taking.hostId);
  const zvols = await Promise.all(
    taking.members.map(async (one) => getOwnZvol(machine, await deps.volumes.get(one.volumeId), deps, signal)),
  );
  const names = taking.members.map(nameOf);
  const found = await whileFrozen(deps, taking.freezes, taking.freezeLimitMs, signal, () =>
    createOrFind(machine, names, taking.mark, deps.clusterId, signal),
  );
  return found.map((snapshot, index) => ({
    guid: snapshot.guid,
    createTxg: snapshot.createTxg.toString(),
    createdAt: snapshot.createdAt.toISOString(),
    sizeBytes: snapshot.sizeBytes,
    volblocksize: String(zvols[index]?.volblocksizeBytes ?? ""),
    usedBytes: snapshot.usedBytes,
    referencedBytes: snapshot.referencedBytes,
    writtenBytes: snapshot.writtenBytes,
  }));
}

async function createOrFind(
  { snapshots }: Machine,
  names: readonly SnapshotName[],
  mark: string,
  cluster: string,
  signal: AbortSignal,
): Promise<readonly ZfsSnapshot[]> {
  try {
    return await snapshots.create(names, { "zfsilo:snapshot": mark }, { signal });
  } catch (error) {
    if (reasonOf(error) !== "already_exists") throw error;
    // The handles in the names were made up for this operation: with our mark on them, they are what this step made before.
    const present = await Promise.all(names.map((name) => snapshots.get(name, { signal })));
    for (const snapshot of present) snapshots.requireOwner(snapshot, { snapshot: mark, cluster });
    return present;
  }
}

/** Thaws and destroys, each whatever becomes of the other. "Already gone" is done. A host that was given up thaws by itself at the limit. */
export async function undoTaking(deps: WorkflowDeps, taking: Taking, signal: AbortSignal): Promise<void> {
  requireAllDone(await Promise.allSettled([thaw(deps, taking.freezes, signal), destroyTaken(deps, taking, signal)]));
}

/** "Already gone" is done. */
export async function destroyTaken(
  deps: WorkflowDeps,
  { hostId: host, mark, members }: Pick<Taking, "hostId" | "mark" | "members">,
  signal: AbortSignal,
): Promise<void> {
  const { snapshots } = await deps.machines.get(host);
  for (const one of members) await snapshots.destroy(nameOf(one), { snapshot: mark, cluster: deps.clusterId }, {}, { signal });
}

function nameOf({ dataset, handle }: Member): SnapshotName {
  return snapshotOf(parseDatasetName(dataset), handle);
}

export interface Recording {
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly consistency: Consistency;
  readonly requestFingerprint: string;
  readonly groupId?: SnapshotRecord["groupId"];
}

/** The row before anything is done on a host. The volume is claimed: what its filesystem is does not change meanwhile. */
export function recordBefore(volume: VolumeRecord, { snapshotId: id, handle, dataset }: Member, recording: Recording): SnapshotRecord {
  const now = new Date();
  const { displayName, labels, consistency, requestFingerprint, groupId = "" } = recording;
  return {
    id,
    handle,
    displayName,
    labels,
    volumeId: volume.id,
    hostId: volume.hostId,
    pool: volume.pool,
    dataset,
    consistency,
    state: "creating",
    capacityBytes: volume.capacityBytes,
    content: contentOf(volume, consistency),
    zfsGuid: "",
    createTxg: "",
    space: undefined,
    holds: [],
    groupId,
    requestFingerprint,
    condition: undefined,
    revision: 1,
    createdAt: now,
    updatedAt: now,
  };
}

/** A snapshot of a mounted filesystem that was not frozen has a journal to recover, as after a power cut. */
function contentOf({ mode, filesystem, zfsOptions, attachments }: VolumeRecord, consistency: Consistency): SnapshotContent {
  const mounted = attachments.some(({ stagingPath, readOnly }) => stagingPath !== "" && !readOnly);
  const unclean = consistency === "crash" && (mounted || filesystem?.unclean === true);
  return { mode, filesystem: filesystem && { ...filesystem, unclean }, zfsOptions, volblocksize: "" };
}

/** What is recorded of one that was taken. */
export function recordAfter(row: SnapshotRecord, taken: Taken): SnapshotChange {
  const { usedBytes, referencedBytes, writtenBytes } = taken;
  return {
    space: { usedBytes, referencedBytes, writtenBytes, observedAt: new Date() },
    zfsGuid: taken.guid,
    createTxg: taken.createTxg,
    createdAt: new Date(taken.createdAt),
    capacityBytes: taken.sizeBytes,
    content: { ...row.content, volblocksize: taken.volblocksize },
  };
}
