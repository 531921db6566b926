import { parseDatasetName, parseZfsOptions, snapshotOf, type CopySpec, type Zvol } from "@zfsilo/host";
import { bytes, reasonOf } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import type { Machine } from "../machines/machines.ts";
import { reportProgress } from "../operation/trace.ts";
import { copyContext, forgetCopy, giveSourceBack, marksOf, recordCopy, takeSource, takesSnapshot, type CopyContext } from "./copy-source.ts";
import { awaitDevice, withParent } from "./create-volume.ts";
import type { WorkflowDeps } from "./deps.ts";
import { ownerOf } from "./ownership.ts";

type Io = StepIo<WorkflowDeps>;

/**
 * Makes a volume as a full copy of a snapshot, or of one that is taken of a volume for it and goes when the copy is there. It shares
 * nothing with its source, and is never formatted if that was (I2). A failure or crash leaves no row, no zvol and no such snapshot.
 */
export const copyVolume = buildUp<CopyContext, WorkflowDeps>("volume.copy", copyContext, [
  { name: "record volume", do: recordCopy, undo: forgetCopy },
  { name: "take snapshot", do: takeSource, undo: giveSourceBack },
  { name: "copy snapshot", do: copySnapshot, undo: discardCopy },
  { name: "wait for device", do: awaitDevice },
  { name: "give snapshot back", do: removeSnapshot },
  { name: "mark ready", do: markReady },
]);

/** No turn: a copy may take hours, and its link is looked for and mended by the next step. */
async function copySnapshot(c: CopyContext, { deps, signal }: Io): Promise<Partial<CopyContext>> {
  const machine = await deps.machines.get(c.hostId);
  const zvol = await withParent(machine, c, () => copyAnew(machine, c, deps, signal), signal);
  return { zvolGuid: zvol.guid };
}

async function copyAnew({ copies }: Machine, c: CopyContext, deps: WorkflowDeps, signal: AbortSignal): Promise<Zvol> {
  const spec: CopySpec = {
    ...leftOf(c, deps),
    sizeBytes: bytes(c.capacityBytes),
    sparse: c.sparse,
    options: parseZfsOptions(c.zfsOptions),
    userProperties: marksOf(c, deps.clusterId),
    onProgress: ({ copiedBytes, totalBytes }) => {
      reportProgress({ doneBytes: copiedBytes, totalBytes });
    },
  };
  try {
    return await copies.copy(spec, { signal });
  } catch (error) {
    if (reasonOf(error) !== "already_exists") throw error;
    // What this step made before may be half of it: with our marks, and nobody's data in it yet, it is made again.
    await copies.discard(spec, { signal });
    return await copies.copy(spec, { signal });
  }
}

async function discardCopy(c: CopyContext, { deps, signal }: Io): Promise<void> {
  const { copies } = await deps.machines.get(c.hostId);
  await copies.discard(leftOf(c, deps), { signal });
}

function leftOf(c: CopyContext, deps: WorkflowDeps): Pick<CopySpec, "snapshot" | "dataset" | "owner"> {
  return {
    snapshot: snapshotOf(parseDatasetName(c.snapshot.dataset), c.snapshot.handle),
    dataset: parseDatasetName(c.dataset),
    owner: ownerOf({ id: c.volumeId, zvolGuid: "" }, deps),
  };
}

async function removeSnapshot(c: CopyContext, io: Io): Promise<undefined> {
  if (!takesSnapshot(c)) return;
  await giveSourceBack(c, io);
  await io.deps.snapshots.remove([c.snapshot.snapshotId]);
}

async function markReady(c: CopyContext, { deps }: Io): Promise<undefined> {
  await deps.volumes.update(c.volumeId, { state: "ready", zvolGuid: c.zvolGuid ?? "" });
}
