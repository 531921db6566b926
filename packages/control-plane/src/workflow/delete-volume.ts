import { parseDatasetName, parseSnapshotName } from "@zfsilo/host";
import { reasonOf } from "@zfsilo/lib";
import { forward, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { SnapshotRecord } from "../store/model.ts";
import type { SnapshotChange } from "../store/stores.ts";
import { snapshotId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { foreignInTheWay, foreignSnapshotsOf } from "./foreign-snapshots.ts";
import { getOwnZvol, ownerOf } from "./ownership.ts";
import { snapshotOwner, zfsNameOf } from "./snapshot-ownership.ts";

const context = z.object({
  volumeId,
  /** The clone that takes the volume's snapshots over, and the snapshot of the volume that it is a clone of. */
  promote: z.object({ volumeId, snapshotId, /** What the clone depends on afterwards: what the volume did. */ origin: z.string() }).optional(),
  /** Snapshots that go with the volume. */
  snapshots: z.array(snapshotId),
  /** Snapshots that others took and that go with the volume, as they were when the request was decided. */
  foreign: z.array(z.object({ name: z.string(), guid: z.string() })).default([]),
  /** What the volume is a clone of. A tombstone may go with it. */
  origin: snapshotId.optional(),
});

type Context = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * Destroys the zvol and forgets the volume. Only a zvol with our properties and the recorded guid is destroyed; one that
 * is gone counts as destroyed only while its pool is imported (I3). What depends on it goes only as far as the request named it,
 * and a clone that is promoted goes on as it is. A crash in between is resumed.
 */
export const deleteVolume = forward<Context, WorkflowDeps>("volume.delete", context, [
  { name: "promote clone", do: promoteClone },
  { name: "destroy snapshots", do: destroySnapshots },
  { name: "destroy zvol", do: destroyZvol },
  { name: "forget volume", do: forgetVolume },
]);

async function promoteClone({ volumeId: id, promote }: Context, { deps, signal }: Io): Promise<undefined> {
  const volume = await deps.volumes.find(id);
  if (promote === undefined || volume === undefined) return;
  const clone = await deps.volumes.get(promote.volumeId);
  const machine = await deps.machines.get(volume.hostId);
  const { origin } = await getOwnZvol(machine, clone, deps, signal);
  const row = await deps.snapshots.get(promote.snapshotId);
  // Promoted a second time it would take over from what the volume itself is a clone of.
  if (origin === zfsNameOf({ ...row, dataset: volume.dataset })) {
    await getOwnZvol(machine, volume, deps, signal);
    await machine.clones.promote(parseDatasetName(clone.dataset), { signal });
  }
  const held = new Set((await machine.snapshots.listOf(parseDatasetName(clone.dataset), { signal })).map(({ guid }) => guid));
  const moved = (await deps.snapshots.ofDataset(volume.hostId, volume.dataset)).filter(({ zfsGuid }) => held.has(zfsGuid));
  const change: SnapshotChange = { dataset: clone.dataset };
  await deps.snapshots.updateAll(new Map(moved.map((one) => [one.id, change] as const)));
  await deps.volumes.update(clone.id, { origin: promote.origin as SnapshotRecord["id"] | "" });
  await deps.volumes.update(id, { origin: promote.snapshotId });
}

/** Those of others first: what stops one of them stops it before anything of ours is gone. */
async function destroySnapshots(c: Context, { deps, signal }: Io): Promise<undefined> {
  await destroyForeign(c, { deps, signal });
  for (const id of c.snapshots) {
    const row = await deps.snapshots.find(id);
    if (row === undefined) continue;
    const { snapshots } = await deps.machines.get(row.hostId);
    await snapshots.destroy(zfsNameOf(row), snapshotOwner(row, deps), {}, { signal });
    await deps.snapshots.remove([id]);
  }
}

async function destroyForeign({ volumeId: id, foreign }: Context, { deps, signal }: Pick<Io, "deps" | "signal">): Promise<void> {
  const volume = foreign.length === 0 ? undefined : await deps.volumes.find(id);
  if (volume === undefined) return;
  const machine = await deps.machines.get(volume.hostId);
  const dataset = parseDatasetName(volume.dataset);
  const zvol = await machine.zfs.findVolume(dataset, { signal });
  if (zvol === undefined) return;
  machine.zfs.requireOwner(zvol, ownerOf(volume, deps));
  for (const { name, guid } of foreign) await machine.snapshots.destroyForeign(parseSnapshotName(name), guid, { signal });
}

async function destroyZvol({ volumeId: id }: Context, { deps, signal }: Io): Promise<undefined> {
  const volume = await deps.volumes.find(id);
  if (volume === undefined) return;
  const { zfs } = await deps.machines.get(volume.hostId);
  try {
    await zfs.destroyOwnedVolume(parseDatasetName(volume.dataset), ownerOf(volume, deps), { signal });
  } catch (error) {
    if (reasonOf(error) !== "has_dependents") throw error;
    const foreign = await foreignSnapshotsOf(deps, volume, signal);
    throw foreign.length === 0 ? error : foreignInTheWay(id, foreign);
  }
  // From here on it is no volume any more, also when the rest fails: nobody may take it for one whose zvol got lost.
  const condition = { reason: "DELETING", message: "its zvol is destroyed and its record is not removed yet", observedAt: new Date() };
  await deps.volumes.update(id, { state: "deleting", condition });
}

/** The volume last: a call made again after a failure in between finds it, and goes on. */
async function forgetVolume({ volumeId: id, promote, origin }: Context, { deps, signal }: Io): Promise<undefined> {
  for (const tombstone of [origin, promote?.snapshotId]) {
    const row = tombstone === undefined ? undefined : await deps.snapshots.find(tombstone);
    if (row?.state !== "tombstoned") continue;
    const { snapshots } = await deps.machines.get(row.hostId);
    if ((await snapshots.find(zfsNameOf(row), { signal })) === undefined) await deps.snapshots.remove([row.id]);
  }
  await deps.volumes.remove(id);
}
