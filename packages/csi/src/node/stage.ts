import type { csi, Volume } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { parseCapability, type VolumeUse } from "../capability.ts";
import type { ControlPlane } from "../control-plane.ts";
import { requireText } from "../names.ts";
import { getVolume, requireFit } from "../volume.ts";
import { attachmentOf } from "./attachment.ts";

export async function stageOnNode(
  controlPlane: ControlPlane,
  host: string,
  request: csi.NodeStageVolumeRequest,
  signal: AbortSignal,
): Promise<void> {
  requireText(request.volumeId, "volume_id");
  const stagingPath = requireText(request.stagingTargetPath, "staging_target_path");
  const use = parseCapability(request.volumeCapability);
  const volume = await getVolume(controlPlane, request.volumeId, signal);
  requireFit(volume, use, attachmentOf(volume, host)?.stagingPath === stagingPath);
  const { name } = volume;
  const readOnly = isReadOnly(volume, host, use);
  if (isStagedAlready(volume, host, stagingPath, use)) {
    await controlPlane.volumes.stageVolume({ name, host, stagingPath, readOnly }, { signal });
    return;
  }
  if (use.kind === "filesystem" && !sameOptions(volume, use)) {
    const filesystem = { mountOptions: [...use.mountOptions] };
    await controlPlane.volumes.updateVolume(
      { volume: { name, filesystem }, updateMask: { paths: ["filesystem.mount_options"] } },
      { signal },
    );
  }
  await controlPlane.volumes.stageVolume({ name, host, stagingPath, readOnly }, { signal });
}

/** What was published read-only can only be staged so. */
function isReadOnly(volume: Volume, host: string, use: VolumeUse): boolean {
  return use.readOnly || attachmentOf(volume, host)?.writeProtected === true;
}

/** CSI spec, "NodeStageVolume": at the same path in another way is ALREADY_EXISTS. */
function isStagedAlready(volume: Volume, host: string, stagingPath: string, use: VolumeUse): boolean {
  const attachment = attachmentOf(volume, host);
  if (attachment === undefined || attachment.stagingPath !== stagingPath) return false;
  if (attachment.readOnly === isReadOnly(volume, host, use) && sameOptions(volume, use)) return true;
  throw new StorageError("already_exists", `${volume.name} is staged at ${stagingPath} with other mount options`, {
    hint: "Unstage it first.",
  });
}

export function sameOptions(volume: Volume, use: VolumeUse): boolean {
  if (use.kind === "block") return true;
  const mounted = [...(volume.filesystem?.mountOptions ?? [])].sort();
  const wanted = [...use.mountOptions].sort();
  return mounted.length === wanted.length && mounted.every((option, index) => option === wanted[index]);
}
