import { parseDatasetName } from "@zfsilo/host";
import { bytes } from "@zfsilo/lib";
import { forward, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import { findDevice } from "./connect-volume.ts";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { requireUnlocked } from "./encryption.ts";
import { requireFilesystem } from "./format.ts";
import { growToDevice, requireFollowed } from "./grow-filesystem.ts";
import { getOwnZvol, ownerOf } from "./ownership.ts";

const context = z.object({ volumeId, capacityBytes: z.bigint() });

export type ExpandVolumeContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * Grows a volume hop by hop, each checked by reading it back, the record last: a retry after a failure looks at every hop
 * again instead of believing the row. Forward only, because a zvol that grew may already hold data beyond its old end.
 */
export const expandVolume = forward<ExpandVolumeContext, WorkflowDeps>("volume.expand", context, [
  { name: "grow zvol", do: growZvol },
  { name: "grow devices", do: growDevices },
  { name: "grow filesystems", do: growFilesystems },
  { name: "record capacity", do: recordCapacity },
]);

async function growZvol(c: ExpandVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  const machine = await deps.machines.get(volume.hostId);
  const dataset = parseDatasetName(volume.dataset);
  const { guid, ...marks } = ownerOf(volume, deps);
  if (guid !== undefined) {
    const known = { ...marks, guid, sizeBytes: bytes(volume.capacityBytes), encrypted: volume.encryption !== undefined };
    if ((await machine.zfs.growKnownVolume(dataset, known, bytes(c.capacityBytes), { signal })) !== undefined) return;
  }
  // It is not as the row has it: grown by an earlier call that failed, locked, or not ours.
  const zvol = await getOwnZvol(machine, volume, deps, signal);
  requireUnlocked(zvol, volume, "expand");
  if (zvol.sizeBytes < c.capacityBytes) await machine.zfs.growVolume(dataset, bytes(c.capacityBytes), { signal });
}

async function growDevices(c: ExpandVolumeContext, io: Io): Promise<undefined> {
  await atEachInitiator(c, io, async (machine, volume) => {
    await findDevice(machine, { ...volume, capacityBytes: c.capacityBytes }, io.signal);
  });
}

async function growFilesystems(c: ExpandVolumeContext, io: Io): Promise<undefined> {
  await atEachInitiator(c, io, async (machine, volume, attachment) => {
    if (volume.mode === "block" || attachment.stagingPath === "" || attachment.readOnly) return;
    const device = await findDevice(machine, { ...volume, capacityBytes: c.capacityBytes }, io.signal);
    requireFollowed(volume, await growToDevice(machine, device, requireFilesystem(volume).type, attachment.stagingPath, io.signal));
  });
}

async function recordCapacity(c: ExpandVolumeContext, { deps }: Io): Promise<undefined> {
  await deps.volumes.update(c.volumeId, { capacityBytes: c.capacityBytes });
}

type AtInitiator = (machine: Machine, volume: VolumeRecord, attachment: AttachmentRecord) => Promise<void>;

async function atEachInitiator(c: ExpandVolumeContext, { deps }: Io, work: AtInitiator): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  await Promise.all(
    volume.attachments.map(async (attachment) => {
      await work(await deps.machines.get(attachment.hostId), volume, attachment);
    }),
  );
}
