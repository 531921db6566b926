import { parseDatasetName } from "@zfsilo/host";
import { bytes } from "@zfsilo/lib";
import { forward, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import { snapshotId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { formattedMark } from "./format.ts";
import { getOwnZvol } from "./ownership.ts";
import { snapshotOwner, zfsNameOf } from "./snapshot-ownership.ts";

const context = z.object({
  volumeId,
  snapshotId,
  /** Later snapshots, that go with what was written since. Empty: there must be none. */
  destroyed: z.array(snapshotId),
  /** Later snapshots that others took go as well. */
  destroyForeign: z.boolean().default(false),
});

type Context = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * Takes a volume that nobody is connected to back to a snapshot. Its size stays: a volume never shrinks, and its filesystem grows
 * again at the next stage. Forward only, since what was written since cannot be brought back; a crash is resumed.
 */
export const rollbackVolume = forward<Context, WorkflowDeps>("volume.rollback", context, [
  { name: "roll back", do: rollBack },
  { name: "bring size back", do: bringSizeBack },
  { name: "record content", do: recordContent },
]);

async function rollBack(c: Context, { deps, signal }: Io): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  const row = await deps.snapshots.get(c.snapshotId);
  const machine = await deps.machines.get(volume.hostId);
  await getOwnZvol(machine, volume, deps, signal);
  const name = zfsNameOf(row);
  machine.snapshots.requireOwner(await machine.snapshots.get(name, { signal }), snapshotOwner(row, deps));
  await machine.snapshots.rollback(name, { destroyLater: c.destroyed.length > 0, destroyForeign: c.destroyForeign }, { signal });
}

async function bringSizeBack(c: Context, { deps, signal }: Io): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  const { zfs } = await deps.machines.get(volume.hostId);
  await zfs.growVolume(parseDatasetName(volume.dataset), bytes(volume.capacityBytes), { signal });
}

/** A snapshot from before the first stage is blank: then the volume was never formatted again, and says so. */
async function recordContent(c: Context, { deps, signal }: Io): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  const { content } = await deps.snapshots.get(c.snapshotId);
  if (volume.filesystem !== undefined && content.filesystem !== undefined) {
    const { uuid, formatted, unclean = false, layout } = content.filesystem;
    const { zfs } = await deps.machines.get(volume.hostId);
    const { layout: _given, ...kept } = volume.filesystem;
    const filesystem = { ...kept, uuid, formatted, unclean, making: false, ...(layout === undefined ? {} : { layout }) };
    const mark = formatted ? formattedMark(filesystem) : "none";
    await zfs.setProperties(parseDatasetName(volume.dataset), {}, { "zfsilo:formatted": mark }, { signal });
    await deps.volumes.update(c.volumeId, { filesystem });
  }
  await deps.snapshots.remove(c.destroyed);
}
