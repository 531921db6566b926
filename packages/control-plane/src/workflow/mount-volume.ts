import { parseHostPath, type BlockDevice, type HostPath } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import { findAttachment } from "./attachment.ts";
import { findDevice } from "./connect-volume.ts";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { giveBack, pathExists, pathTurn, showsDevice } from "./paths.ts";
import { hasStopped, restartStopped } from "./stopped-filesystem.ts";

const context = z.object({
  volumeId,
  hostId,
  targetPath: z.string(),
  readOnly: z.boolean(),
  /** Found before anything is mounted, so that an undo knows which mount is ours. */
  device: z.string().optional(),
  existed: z.boolean().optional(),
});

export type MountVolumeContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/** Binds a staged volume to a target path: its staging directory on a directory, or its device on a file. */
export const mountVolume = buildUp<MountVolumeContext, WorkflowDeps>("volume.mount", context, [
  { name: "look at target path", do: lookAtTargetPath },
  { name: "bind to target path", do: bindTarget, undo: unbindTarget },
  { name: "record mounted", do: recordMounted, undo: recordUnmounted },
]);

async function lookAtTargetPath(c: MountVolumeContext, { deps, signal }: Io): Promise<Partial<MountVolumeContext>> {
  const { volume } = await findAttachment(deps, c.volumeId, c.hostId);
  const machine = await deps.machines.get(c.hostId);
  const { path } = await findDevice(machine, volume, signal);
  return { device: path, existed: await pathExists(machine, c.targetPath, signal) };
}

async function bindTarget(c: MountVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  const machine = await deps.machines.get(c.hostId);
  const target = parseHostPath(c.targetPath);
  const device = await machine.devices.find(c.device ?? "", { signal });
  if (device === undefined) {
    throw new StorageError("unavailable", `mount volumes/${c.volumeId} on ${machine.executor.host}: its device went away`, {
      details: { host: `hosts/${c.hostId}` },
      hint: "Repeat the call; SyncVolume shows what is missing.",
    });
  }
  const bind = (): Promise<void> => bindVolume(machine, { volume, attachment, device, target, readOnly: c.readOnly }, signal);
  await deps.turns.run(pathTurn(c.hostId, c.targetPath), bind, signal);
}

export interface BindVolume {
  readonly volume: VolumeRecord;
  readonly attachment: AttachmentRecord;
  /** Found by its serial. */
  readonly device: BlockDevice;
  readonly target: HostPath;
  readonly readOnly: boolean;
}

/**
 * Shows a staged volume at a target path. What stands at the staging path is trusted only when it is its device, and its filesystem
 * is mounted anew when it has stopped after an error.
 */
export async function bindVolume(
  machine: Machine,
  { volume, attachment, device, target, readOnly }: BindVolume,
  signal: AbortSignal,
): Promise<void> {
  const { mounts, executor } = machine;
  if (volume.mode === "block") {
    await mounts.bindMount({ source: parseHostPath(device.path), target, readOnly: false }, { signal });
    return;
  }
  const source = parseHostPath(attachment.stagingPath);
  const staged = await mounts.find(source, { signal });
  if (staged === undefined || !showsDevice(staged, device)) {
    throw new StorageError("precondition", `mount volumes/${volume.id} on ${executor.host}: it is not what is mounted at ${source}`, {
      details: { host: `hosts/${attachment.hostId}` },
      hint: "SyncVolume shows what is missing; call UnstageVolume and StageVolume to mount it again.",
    });
  }
  if (hasStopped(staged, attachment)) await restartStopped(machine, { volume, attachment, device, staged }, signal);
  await mounts.bindMount({ source, target, readOnly }, { signal });
}

async function unbindTarget(c: MountVolumeContext, { deps, signal }: Io): Promise<void> {
  const machine = await deps.machines.get(c.hostId);
  const taken = { path: parseHostPath(c.targetPath), device: c.device, existed: c.existed };
  await deps.turns.run(pathTurn(c.hostId, c.targetPath), () => giveBack(machine, taken, signal), signal);
}

async function recordMounted(c: MountVolumeContext, { deps }: Io): Promise<undefined> {
  const { attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  const targetPaths = [...new Set([...attachment.targetPaths, c.targetPath])];
  const others = attachment.readOnlyPaths.filter((path) => path !== c.targetPath);
  const readOnlyPaths = c.readOnly ? [...others, c.targetPath] : others;
  await deps.volumes.updateAttachment(c.volumeId, c.hostId, { state: "mounted", targetPaths, readOnlyPaths });
}

async function recordUnmounted(c: MountVolumeContext, { deps }: Io): Promise<void> {
  await removeTargetPath(c, deps);
}

/** Takes one target path off the record; the attachment falls back to `staged` with the last one. */
export async function removeTargetPath(
  c: Pick<MountVolumeContext, "volumeId" | "hostId" | "targetPath">,
  deps: WorkflowDeps,
): Promise<void> {
  const { attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  const targetPaths = attachment.targetPaths.filter((path) => path !== c.targetPath);
  await deps.volumes.updateAttachment(c.volumeId, c.hostId, {
    state: targetPaths.length === 0 ? "staged" : "mounted",
    targetPaths,
    readOnlyPaths: attachment.readOnlyPaths.filter((path) => path !== c.targetPath),
  });
}
