import { create } from "@bufbuild/protobuf";
import { VolumeSchema, type AdoptVolumeRequest } from "@zfsilo/api";
import { parseDatasetName } from "@zfsilo/host";
import { invalidField, parseVolumeId } from "@zfsilo/lib";
import type { AdoptVolumeInput } from "../volume/adopt.ts";
import { checkDisplayName, checkLabels, parseHostName, parseResourceId } from "./field.ts";
import { parseAuthentication, parseMode, refuseVolumeOutput, requireKnownTransport } from "./volume-input.ts";

/** What the zvol has and a caller cannot choose. */
const ofTheZvol = ["host", "pool", "parentDataset", "capacityBytes", "sparse", "encryption", "source"] as const;

export function parseAdoptVolume(request: AdoptVolumeRequest): AdoptVolumeInput {
  const volume = request.volume ?? create(VolumeSchema);
  refuseVolumeOutput(volume);
  requireKnownTransport(volume);
  const { guid } = request;
  if (!/^[1-9]\d{0,19}$/.test(guid)) throw invalidField("guid", "is no guid of a dataset", "Read it with `zfs get -Hp -o value guid DATASET`.");
  for (const field of ofTheZvol) {
    if (volume[field]) throw invalidField(`volume.${field}`, "is that of the zvol", "Leave it out.");
  }
  if (Object.keys(volume.zfsOptions).length > 0) throw invalidField("volume.zfs_options", "are those of the zvol", "Change them afterwards with UpdateVolume.");
  const { type = "", mkfsOptions = {}, mountOptions = [] } = volume.filesystem ?? {};
  if (type !== "" || Object.keys(mkfsOptions).length > 0) throw invalidField("volume.filesystem", "is that on the zvol", "Only mount_options can be chosen.");
  const mode = parseMode(volume.mode);
  if (mode === "block" && mountOptions.length > 0) throw invalidField("volume.filesystem", "is not for raw block");
  return {
    id: parseResourceId("volume_id", () => parseVolumeId(request.volumeId)),
    hostId: parseHostName(request.host, "host"),
    dataset: parseDatasetName(request.dataset, "dataset"),
    guid,
    replaceMarks: request.replaceMarks,
    made: {
      displayName: checkDisplayName(volume.displayName, "volume.display_name"),
      labels: checkLabels(volume.labels, "volume.labels"),
      mode,
      mountOptions,
      authentication: parseAuthentication(volume.authentication),
    },
  };
}
