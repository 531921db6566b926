import { CopyMode, VolumeMode, type CreateVolumeRequest, type Volume } from "@zfsilo/api";
import { parseDatasetName, parseFsType, parseMountOptions, parsePoolName, parseZfsOptions } from "@zfsilo/host";
import { invalidField, newId, parseVolumeId } from "@zfsilo/lib";
import type { CopyMode as CopyModeWord } from "../store/model.ts";
import type { CopySource, CopyVolumeInput } from "../volume/copy.ts";
import { checkDisplayName, checkLabels, parseHostName, parseResourceId, parseSnapshotName, parseVolumeName } from "./field.ts";
import { parseAuthentication, parseCapacity, parseMode, refuseVolumeOutput, requireKnownTransport, withoutMissing } from "./volume-input.ts";

/** CreateVolume with a source. What is left out is as in the source. */
export function parseCopyVolume({ volumeId, ...request }: CreateVolumeRequest, volume: Volume): CopyVolumeInput {
  refuseVolumeOutput(volume);
  requireKnownTransport(volume);
  if (volume.encryption !== undefined) throw invalidField("volume.encryption", "is that of the source", "A copy is encrypted as its source is.");
  if (request.encryptionKey.length > 0) throw invalidField("encryption_key", "is that of the source");
  if (Object.keys(request.hostLabels).length > 0) {
    throw invalidField("host_labels", "is for volumes that may go to any host", "A volume is made of a source on the same host.");
  }
  return {
    id: volumeId === "" ? newId("volume") : parseResourceId("volume_id", () => parseVolumeId(volumeId)),
    source: parseSource(volume),
    displayName: checkDisplayName(volume.displayName, "volume.display_name"),
    labels: checkLabels(volume.labels, "volume.labels"),
    hostId: volume.host === "" ? undefined : parseHostName(volume.host, "volume.host"),
    pool: volume.pool === "" ? "" : parsePoolName(volume.pool, "volume.pool"),
    parentDataset: volume.parentDataset === "" ? "" : parseDatasetName(volume.parentDataset, "volume.parent_dataset"),
    capacityBytes: volume.capacityBytes === 0n ? 0n : parseCapacity(volume.capacityBytes),
    sparse: volume.sparse,
    zfsOptions: withoutMissing(parseZfsOptions(volume.zfsOptions, "volume.zfs_options")),
    mode: volume.mode === VolumeMode.UNSPECIFIED ? undefined : parseMode(volume.mode),
    ...parseFilesystem(volume),
    authentication: parseAuthentication(volume.authentication),
  };
}

function parseSource({ source }: Volume): CopySource {
  const copyMode = parseCopyMode(source?.copyMode ?? CopyMode.UNSPECIFIED);
  switch (source?.source.case) {
    case "snapshot":
      return { kind: "snapshot", id: parseSnapshotName(source.source.value, "volume.source.snapshot"), copyMode };
    case "volume":
      return { kind: "volume", id: parseVolumeName(source.source.value, "volume.source.volume"), copyMode };
    case undefined:
    default:
      throw invalidField("volume.source", "names neither a snapshot nor a volume");
  }
}

function parseCopyMode(mode: CopyMode): CopyModeWord {
  switch (mode) {
    case CopyMode.UNSPECIFIED:
    case CopyMode.CLONE:
      return "clone";
    case CopyMode.FULL:
      return "full";
    default:
      throw invalidField("volume.source.copy_mode", "is unknown");
  }
}

/** Only how it is mounted can be chosen: what it is and how it was made came with the content. */
function parseFilesystem({ filesystem }: Volume): Pick<CopyVolumeInput, "fsType" | "mountOptions"> {
  if (filesystem === undefined) return { fsType: undefined, mountOptions: undefined };
  if (filesystem.uuid !== "") throw invalidField("volume.filesystem.uuid", "is output only");
  if (Object.keys(filesystem.mkfsOptions).length > 0) {
    throw invalidField("volume.filesystem.mkfs_options", "is set, and a copy is never formatted");
  }
  const fsType = filesystem.type === "" ? undefined : parseFsType(filesystem.type, "volume.filesystem.type");
  if (filesystem.mountOptions.length === 0) return { fsType, mountOptions: undefined };
  // Without a type they are those of the source's, and checked when that is known.
  const mountOptions = fsType === undefined ? filesystem.mountOptions : parseMountOptions(fsType, filesystem.mountOptions, "volume.filesystem.mount_options");
  return { fsType, mountOptions };
}
