import { parseDatasetName, parseZfsOptions, snapshotOf, type Zvol } from "@zfsilo/host";
import { bytes, reasonOf } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import type { Machine } from "../machines/machines.ts";
import { copyContext, forgetCopy, giveSourceBack, marksOf, recordCopy, takeSource, takenChange, takesSnapshot, type CopyContext } from "./copy-source.ts";
import { awaitDevice, destroyZvol, withParent, zvolTurn } from "./create-volume.ts";
import type { WorkflowDeps } from "./deps.ts";
import { recordOriginsEncryption } from "./encryption.ts";
import { ownerOf } from "./ownership.ts";
import { zfsNameOf } from "./snapshot-ownership.ts";

type Io = StepIo<WorkflowDeps>;

/**
 * Makes a volume as a thin clone of a snapshot, or of one that is taken of a volume for it and that ZFS keeps for as long as the
 * clone lives. It is never formatted if its source was (I2). A failure or crash leaves no row, no zvol and no such snapshot.
 */
export const cloneVolume = buildUp<CopyContext, WorkflowDeps>("volume.clone", copyContext, [
  { name: "record volume", do: recordCopy, undo: forgetCopy },
  { name: "take snapshot", do: takeSource, undo: giveSourceBack },
  { name: "clone snapshot", do: cloneSnapshot, undo: destroyZvol },
  { name: "wait for device", do: awaitDevice },
  { name: "leave snapshot to its clone", do: leaveSnapshot },
  { name: "mark ready", do: markReady },
]);

async function cloneSnapshot(c: CopyContext, { deps, signal }: Io): Promise<Partial<CopyContext>> {
  const machine = await deps.machines.get(c.hostId);
  const zvol = await deps.turns.run(zvolTurn(c), () => cloneAnew(machine, c, deps, signal), signal);
  await recordOriginsEncryption(machine, zvol, c.volumeId, deps, signal);
  return { zvolGuid: zvol.guid };
}

async function cloneAnew(machine: Machine, c: CopyContext, deps: WorkflowDeps, signal: AbortSignal): Promise<Zvol> {
  const { clones, zfs } = machine;
  const dataset = parseDatasetName(c.dataset);
  const spec = {
    snapshot: snapshotOf(parseDatasetName(c.snapshot.dataset), c.snapshot.handle),
    dataset,
    sizeBytes: bytes(c.capacityBytes),
    sparse: c.sparse,
    options: parseZfsOptions(c.zfsOptions),
    userProperties: marksOf(c, deps.clusterId),
  };
  try {
    return await withParent(machine, c, () => clones.clone(spec, { signal }), signal);
  } catch (error) {
    if (reasonOf(error) !== "already_exists") throw error;
    // What this step made before may lack its size or reservation: with our marks, and nobody's data in it yet, it is made again.
    await zfs.destroyOwnedVolume(dataset, ownerOf({ id: c.volumeId, zvolGuid: "" }, deps), { signal });
    return await clones.clone(spec, { signal });
  }
}

async function leaveSnapshot(c: CopyContext, { deps, signal }: Io): Promise<undefined> {
  if (!takesSnapshot(c)) return;
  const row = await deps.snapshots.get(c.snapshot.snapshotId);
  const { snapshots } = await deps.machines.get(c.hostId);
  const owner = { snapshot: row.id, cluster: deps.clusterId };
  await snapshots.destroy(zfsNameOf(row), owner, { defer: true }, { signal });
}

async function markReady(c: CopyContext, { deps }: Io): Promise<undefined> {
  if (takesSnapshot(c)) {
    const row = await deps.snapshots.get(c.snapshot.snapshotId);
    await deps.snapshots.update(row.id, { ...takenChange(c, row), state: "tombstoned" });
  }
  await deps.volumes.update(c.volumeId, { state: "ready", zvolGuid: c.zvolGuid ?? "" });
}
