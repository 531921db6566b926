import { parseHostPath, type BlockDevice, type Mount } from "@zfsilo/host";
import { forward, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import { findAttachment } from "./attachment.ts";
import { findDevice } from "./connect-volume.ts";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { requireFilesystem } from "./format.ts";
import { growToDevice, recordLayout } from "./grow-filesystem.ts";
import { bindVolume } from "./mount-volume.ts";
import { showsDevice } from "./paths.ts";
import { mountFilesystem, requireOurFilesystem } from "./mount-filesystem.ts";
import { diskOf, isGone } from "./stale-session.ts";
import { hasStopped, usersOf } from "./stopped-filesystem.ts";

const context = z.object({ volumeId, hostId });

type Io = StepIo<WorkflowDeps>;
type Context = z.infer<typeof context>;

/**
 * Mounts again what is recorded as staged and mounted on an initiator that lost it, as after its reboot. Never formats: the
 * filesystem found must be the one that was made. Forward only, since what is mounted may be in use at once.
 */
export const restoreMounts = forward<Context, WorkflowDeps>("volume.restore-mounts", context, [
  { name: "remove dead mounts", do: removeDeadMounts },
  { name: "mount at staging path", do: mountStaging },
  { name: "bind to target paths", do: bindTargets },
]);

/** What shows another device that lives is somebody's: it stays, and mounting over it is refused by the next step. */
async function removeDeadMounts(c: Context, { deps, signal }: Io): Promise<undefined> {
  const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  const machine = await deps.machines.get(c.hostId);
  const device = await findDevice(machine, volume, signal);
  const staging = volume.mode === "block" ? [] : [attachment.stagingPath];
  for (const path of [...attachment.targetPaths, ...staging].map((text) => parseHostPath(text))) {
    const mount = await machine.mounts.find(path, { signal });
    if (mount === undefined || showsDevice(mount, device)) continue;
    if (await isDead(machine, mount, signal)) await machine.mounts.unmount(path, { signal });
  }
}

/** A disk that was logged out leaves its mounts behind, with a number that is no longer its name's. */
async function isDead({ executor }: Machine, mount: Mount, signal: AbortSignal): Promise<boolean> {
  const name = diskOf(mount);
  if (name === undefined) return false;
  const [number] = await executor.files([{ op: "read", path: `/sys/class/block/${name}/dev`, tolerate: ["ENOENT"] }], { signal });
  return isGone(mount, number?.text);
}

async function mountStaging(c: Context, { deps, signal }: Io): Promise<undefined> {
  const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  const { stagingPath, readOnly, writeProtected } = attachment;
  const machine = await deps.machines.get(c.hostId);
  const device = await findDevice(machine, volume, signal);
  if (volume.mode === "filesystem" && stagingPath !== "") {
    await requireOurFilesystem(machine, volume, device.path, signal);
    await takeDownStopped(machine, volume, attachment, device, signal);
    await mountFilesystem(machine, volume, { device: device.path, stagingPath, readOnly, writeProtected }, signal);
    if (!readOnly) await recordLayout(deps, volume.id, await growToDevice(machine, device, requireFilesystem(volume).type, stagingPath, signal));
  }
  if (attachment.device !== device.path) await deps.volumes.updateAttachment(c.volumeId, c.hostId, { device: device.path });
}

/** One that gave up after an error is mounted anew below, unless somebody has it open at a target path. */
async function takeDownStopped(
  machine: Machine,
  volume: VolumeRecord,
  attachment: AttachmentRecord,
  device: BlockDevice,
  signal: AbortSignal,
): Promise<void> {
  const path = parseHostPath(attachment.stagingPath);
  const staged = await machine.mounts.find(path, { signal });
  if (staged === undefined || !showsDevice(staged, device) || !hasStopped(staged, attachment)) return;
  if ((await usersOf(machine, { volume, attachment, device, staged }, signal)).length > 0) return;
  await machine.mounts.unmount(path, { signal });
}

async function bindTargets(c: Context, { deps, signal }: Io): Promise<undefined> {
  const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  const machine = await deps.machines.get(c.hostId);
  const device = await findDevice(machine, volume, signal);
  for (const path of attachment.targetPaths) {
    const readOnly = attachment.readOnlyPaths.includes(path);
    await bindVolume(machine, { volume, attachment, device, target: parseHostPath(path), readOnly }, signal);
  }
}
