import { ext4LayoutFor, parseHostPath } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import { findAttachment } from "./attachment.ts";
import { findDevice } from "./connect-volume.ts";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { ensureFilesystemMade, requireFilesystem } from "./format.ts";
import { growToDevice, recordLayout } from "./grow-filesystem.ts";
import { mountFilesystem, requireOurFilesystem } from "./mount-filesystem.ts";
import { getOwnZvol } from "./ownership.ts";
import { giveBack, pathExists, pathTurn } from "./paths.ts";

const context = z.object({
  volumeId,
  hostId,
  stagingPath: z.string(),
  readOnly: z.boolean(),
  device: z.string().optional(),
  /** Its filesystem was made and read back by this operation: there is nothing to check yet, and nothing to grow. */
  isFresh: z.boolean().optional(),
  /** Whether the staging directory was there before us: then it stays after an undo. */
  existed: z.boolean().optional(),
});

export type StageVolumeContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * Makes the volume usable on an initiator it is connected to. A filesystem is made when the volume never had one and the
 * device is blank (I2), checked, mounted at the staging path and grown to the device. Raw block only needs its device
 * verified. A failure or crash unmounts; a filesystem once made stays, recorded, and is never made again.
 */
export const stageVolume = buildUp<StageVolumeContext, WorkflowDeps>("volume.stage", context, [
  { name: "find device", do: findOurDevice },
  { name: "make filesystem", do: makeFilesystem },
  { name: "look at staging path", do: lookAtStagingPath },
  { name: "mount at staging path", do: mountStaging, undo: unmountStaging, drop: leaveUnclean },
  { name: "grow filesystem", do: growFilesystem },
  { name: "record staged", do: recordStaged, undo: recordUnstaged },
]);

async function findOurDevice(c: StageVolumeContext, { deps, signal }: Io): Promise<Partial<StageVolumeContext>> {
  const { volume } = await findAttachment(deps, c.volumeId, c.hostId);
  const { path } = await findDevice(await deps.machines.get(c.hostId), volume, signal);
  return { device: path };
}

async function makeFilesystem(c: StageVolumeContext, { deps, signal, log }: Io): Promise<Partial<StageVolumeContext>> {
  const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  const initiator = await deps.machines.get(c.hostId);
  const device = deviceOf(c);
  if (volume.mode === "block") return {};
  const filesystem = requireFilesystem(volume);
  if (filesystem.formatted) {
    await requireOurFilesystem(initiator, volume, device, signal);
    return {};
  }
  refuseToMakeOn(volume, attachment);
  const target = await deps.machines.get(volume.hostId);
  const zvol = await getOwnZvol(target, volume, deps, signal);
  const begin = async (): Promise<void> => {
    await deps.volumes.update(c.volumeId, { filesystem: { ...filesystem, making: true } });
  };
  const { mark, isFresh } = await ensureFilesystemMade({ target, initiator, zvol, device, filesystem, begin }, { signal, log });
  await target.zfs.setProperties(zvol.dataset, {}, { "zfsilo:formatted": mark }, { signal });
  // One that is there already may be of an earlier version's making: then the growth below looks at it.
  const layout = isFresh && filesystem.type === "ext4" ? { layout: ext4LayoutFor(filesystem.mkfsOptions, zvol.sizeBytes) } : {};
  await deps.volumes.update(c.volumeId, { filesystem: { ...filesystem, ...layout, formatted: true, making: false } });
  return { isFresh };
}

function refuseToMakeOn({ id }: VolumeRecord, { hostId, writeProtected }: AttachmentRecord): void {
  if (!writeProtected) return;
  throw new StorageError("precondition", `stage volumes/${id}: it has no filesystem yet, and hosts/${hostId} may only read it`, {
    details: { host: `hosts/${hostId}` },
    hint: "Connect and stage it once for writing.",
  });
}

async function lookAtStagingPath(c: StageVolumeContext, { deps, signal }: Io): Promise<Partial<StageVolumeContext>> {
  return { existed: await pathExists(await deps.machines.get(c.hostId), c.stagingPath, signal) };
}

async function mountStaging(c: StageVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  if (volume.mode === "block") return;
  const machine = await deps.machines.get(c.hostId);
  const staging = { ...c, device: deviceOf(c), writeProtected: attachment.writeProtected };
  const mount = (): Promise<void> => mountFilesystem(machine, volume, staging, signal);
  await deps.turns.run(pathTurn(c.hostId, c.stagingPath), mount, signal);
}

async function unmountStaging(c: StageVolumeContext, { deps, signal }: Io): Promise<void> {
  const volume = await deps.volumes.get(c.volumeId);
  if (volume.mode === "block") return;
  const machine = await deps.machines.get(c.hostId);
  const taken = { path: parseHostPath(c.stagingPath), device: c.device, existed: c.existed };
  await deps.turns.run(pathTurn(c.hostId, c.stagingPath), () => giveBack(machine, taken, signal), signal);
}

/** Whoever has it next replays its journal: it may have been mounted when it was cut off. */
async function leaveUnclean(c: StageVolumeContext, { deps }: Io): Promise<void> {
  const { filesystem } = await deps.volumes.get(c.volumeId);
  if (filesystem !== undefined && !c.readOnly) await deps.volumes.update(c.volumeId, { filesystem: { ...filesystem, unclean: true } });
}

/** A volume that grew while nobody had it mounted catches up here, as far as it can: what it holds must stay within reach. */
async function growFilesystem(c: StageVolumeContext, { deps, signal, log }: Io): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  if (volume.mode === "block" || c.readOnly || c.isFresh === true) return;
  const machine = await deps.machines.get(c.hostId);
  const device = await findDevice(machine, volume, signal);
  const grown = await growToDevice(machine, device, requireFilesystem(volume).type, c.stagingPath, signal);
  await recordLayout(deps, c.volumeId, grown);
  if (grown.mostBytes !== undefined) log.warn({ mostBytes: grown.mostBytes }, "the volume is larger than its filesystem can be");
}

async function recordStaged(c: StageVolumeContext, { deps }: Io): Promise<undefined> {
  const { stagingPath, readOnly } = c;
  const { filesystem } = await deps.volumes.get(c.volumeId);
  // Mounting it has recovered its journal.
  if (filesystem?.unclean === true && !readOnly) {
    await deps.volumes.update(c.volumeId, { filesystem: { ...filesystem, unclean: false } });
  }
  await deps.volumes.updateAttachment(c.volumeId, c.hostId, { state: "staged", stagingPath, readOnly, device: deviceOf(c) });
}

async function recordUnstaged(c: StageVolumeContext, { deps }: Io): Promise<void> {
  await deps.volumes.updateAttachment(c.volumeId, c.hostId, { state: "connected", stagingPath: "", readOnly: false });
}

function deviceOf(c: StageVolumeContext): string {
  if (c.device !== undefined) return c.device;
  throw new StorageError("internal", `stage volumes/${c.volumeId}: no device was found before it was needed`);
}
