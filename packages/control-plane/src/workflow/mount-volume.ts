import { parseHostPath } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import { findAttachment } from "./attachment.ts";
import { findDevice } from "./connect-volume.ts";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { pathExists, showsDevice } from "./paths.ts";

const context = z.object({
  volumeId,
  hostId,
  targetPath: z.string(),
  readOnly: z.boolean(),
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
  return { existed: await pathExists(await deps.machines.get(c.hostId), c.targetPath, signal) };
}

async function bindTarget(c: MountVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  const machine = await deps.machines.get(c.hostId);
  const target = parseHostPath(c.targetPath);
  // What stands at the staging path is trusted only when it is this volume's device, by serial (pitfall 8).
  const device = await findDevice(machine, volume, signal);
  if (volume.mode === "block") {
    await machine.mounts.bindMount({ source: parseHostPath(device.path), target, readOnly: false }, { signal });
    return;
  }
  const source = parseHostPath(attachment.stagingPath);
  if (!showsDevice(await machine.mounts.find(source, { signal }), device)) {
    throw new StorageError("precondition", `mount volumes/${c.volumeId}: it is not what is mounted at ${source}`, {
      details: { host: `hosts/${c.hostId}` },
      hint: "SyncVolume shows what is missing; call UnstageVolume and StageVolume to mount it again.",
    });
  }
  await machine.mounts.bindMount({ source, target, readOnly: c.readOnly }, { signal });
}

async function unbindTarget(c: MountVolumeContext, { deps, signal }: Io): Promise<void> {
  const { mounts } = await deps.machines.get(c.hostId);
  const target = parseHostPath(c.targetPath);
  await mounts.unmount(target, { signal });
  if (c.existed === false) await mounts.removeTarget(target, { signal });
}

async function recordMounted(c: MountVolumeContext, { deps }: Io): Promise<undefined> {
  const { attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  const targetPaths = [...new Set([...attachment.targetPaths, c.targetPath])];
  await deps.volumes.updateAttachment(c.volumeId, c.hostId, { state: "mounted", targetPaths });
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
  });
}
