import type { Attachment, csi, Volume } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { parseCapability } from "../capability.ts";
import type { ControlPlane } from "../control-plane.ts";
import { requireText } from "../names.ts";
import { attachmentOf, getVolume, requireFit } from "../volume.ts";
import { sameOptions } from "./stage.ts";

export async function publishOnNode(
  controlPlane: ControlPlane,
  host: string,
  request: csi.NodePublishVolumeRequest,
  signal: AbortSignal,
): Promise<void> {
  requireText(request.volumeId, "volume_id");
  const targetPath = requireText(request.targetPath, "target_path");
  const use = parseCapability(request.volumeCapability);
  const volume = await getVolume(controlPlane, request.volumeId, signal);
  const attachment = attachmentOf(volume, host);
  const isThere = attachment?.targetPaths.includes(targetPath) === true;
  requireFit(volume, use, isThere);
  const stagedAt = attachment?.stagingPath ?? "";
  if (stagedAt === "" || (request.stagingTargetPath !== "" && stagedAt !== request.stagingTargetPath)) {
    throw new StorageError("precondition", `${volume.name} is not staged at ${request.stagingTargetPath || "any path"} on ${host}`, {
      hint: "Call NodeStageVolume first.",
    });
  }
  // A bind mount shows the filesystem as it was mounted: options of its own it has none but read-only.
  if (!sameOptions(volume, use)) {
    const reason = isThere ? "already_exists" : "invalid_argument";
    throw new StorageError(reason, "volume_capability.mount.mount_flags: are not those it was staged with");
  }
  const others = (attachment?.targetPaths ?? []).filter((path) => path !== targetPath);
  if (use.singleUser && others.length > 0) {
    throw new StorageError("precondition", `${volume.name} is published at ${others.join(", ")}`, {
      hint: "SINGLE_NODE_SINGLE_WRITER allows one target path.",
    });
  }
  const readOnly = request.readonly || use.readOnly;
  if (isThere) refuseOtherMount(volume, attachment, targetPath, readOnly);
  await controlPlane.volumes.mountVolume({ name: volume.name, host, targetPath, readOnly }, { signal });
}

/** CSI spec, "NodePublishVolume": at the same path in another way is ALREADY_EXISTS. */
function refuseOtherMount({ name }: Volume, { readOnlyTargetPaths }: Attachment, targetPath: string, readOnly: boolean): void {
  const isReadOnly = readOnlyTargetPaths.includes(targetPath);
  if (isReadOnly === readOnly) return;
  const how = isReadOnly ? "read-only" : "for writing";
  throw new StorageError("already_exists", `${name} is published at ${targetPath} ${how}`, { hint: "Unpublish it there first." });
}
