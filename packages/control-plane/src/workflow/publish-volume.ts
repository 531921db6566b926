import { parseIqn, parsePortal, type ExportSpec } from "@zfsilo/host";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import type { VolumeRecord } from "../store/model.ts";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { requireUnlocked, unlockFromFile } from "./encryption.ts";
import { devicePathOf, getOwnZvol } from "./ownership.ts";

const context = z.object({
  volumeId,
  portals: z.array(z.object({ address: z.string(), port: z.number() })),
});

export type PublishVolumeContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/** Exports the volume as a target of its own. No initiator may log in until it is connected. */
export const publishVolume = buildUp<PublishVolumeContext, WorkflowDeps>("volume.publish", context, [
  { name: "check zvol", do: checkZvol },
  { name: "unlock volume", do: unlock },
  { name: "export volume", do: exportVolume, undo: endExport },
  { name: "record export", do: recordExport, undo: forgetExport },
]);

/** What LIO is told to export. */
export function exportSpecOf(volume: VolumeRecord, portals: VolumeRecord["portals"]): ExportSpec {
  return {
    handle: volume.handle,
    target: parseIqn(volume.targetName),
    devicePath: devicePathOf(volume),
    portals: portals.map((portal) => parsePortal(portal)),
    authentication: volume.authentication !== "none",
    generation: volume.generation,
  };
}

/** Exports. What the host's kernel lacks for it after a reboot is loaded when it is found missing. */
export async function ensureExport(
  { lio }: Machine,
  volume: VolumeRecord,
  portals: VolumeRecord["portals"],
  signal: AbortSignal,
): Promise<void> {
  await lio.ensureExport(exportSpecOf(volume, portals), { signal });
}

async function checkZvol(c: PublishVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  const zvol = await getOwnZvol(await deps.machines.get(volume.hostId), volume, deps, signal);
  if (volume.encryption === undefined) requireUnlocked(zvol, volume, "publish");
}

/** A key that this loads stays loaded: the volume is no worse for it. */
async function unlock(c: PublishVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  if (volume.encryption === undefined) return;
  await unlockFromFile(await deps.machines.get(volume.hostId), volume, "publish", deps, signal);
}

async function exportVolume(c: PublishVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  await ensureExport(await deps.machines.get(volume.hostId), volume, c.portals, signal);
}

async function endExport(c: PublishVolumeContext, { deps, signal }: Io): Promise<void> {
  const volume = await deps.volumes.get(c.volumeId);
  const { lio } = await deps.machines.get(volume.hostId);
  await lio.removeExport({ handle: volume.handle, target: parseIqn(volume.targetName) }, { signal });
}

async function recordExport(c: PublishVolumeContext, { deps }: Io): Promise<undefined> {
  await deps.volumes.update(c.volumeId, { published: true, portals: c.portals });
}

async function forgetExport(c: PublishVolumeContext, { deps }: Io): Promise<void> {
  await deps.volumes.update(c.volumeId, { published: false, portals: [] });
}
