import type { Attachment, csi, Volume } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { parseCapability, type VolumeUse } from "../capability.ts";
import type { ControlPlane } from "../control-plane.ts";
import { requireText } from "../names.ts";
import { attachmentOf, getVolume, requireFit } from "../volume.ts";

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
  const attachment = attachmentOf(volume, host);
  const isThere = attachment?.stagingPath === stagingPath;
  requireFit(volume, use, isThere);
  const { name } = volume;
  // What was published read-only can only be staged so.
  const readOnly = use.readOnly || attachment?.writeProtected === true;
  if (isThere) {
    refuseOtherStaging(volume, attachment, use, readOnly);
  } else if (use.kind === "filesystem" && !sameOptions(volume, use)) {
    const filesystem = { mountOptions: [...use.mountOptions] };
    await controlPlane.volumes.updateVolume(
      { volume: { name, filesystem }, updateMask: { paths: ["filesystem.mount_options"] } },
      { signal },
    );
  }
  await controlPlane.volumes.stageVolume({ name, host, stagingPath, readOnly }, { signal });
}

/** CSI spec, "NodeStageVolume": at the same path in another way is ALREADY_EXISTS. */
function refuseOtherStaging(volume: Volume, attachment: Attachment, use: VolumeUse, readOnly: boolean): void {
  if (attachment.readOnly === readOnly && sameOptions(volume, use)) return;
  throw new StorageError("already_exists", `${volume.name} is staged at ${attachment.stagingPath} with other mount options`, {
    hint: "Unstage it first.",
  });
}

export function sameOptions(volume: Volume, use: VolumeUse): boolean {
  if (use.kind === "block") return true;
  const mounted = [...(volume.filesystem?.mountOptions ?? [])].sort();
  const wanted = [...use.mountOptions].sort();
  return mounted.length === wanted.length && mounted.every((option, index) => option === wanted[index]);
}
