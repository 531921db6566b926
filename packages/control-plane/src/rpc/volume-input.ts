import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { FieldMask } from "@bufbuild/protobuf/wkt";
import {
  Acceptance,
  Authentication,
  SnapshotPolicy,
  Transport,
  VolumeMode,
  VolumeSchema,
  type CreateVolumeRequest,
  type Filesystem,
  type UpdateVolumeRequest,
  type Volume,
} from "@zfsilo/api";
import {
  parseFsType,
  parseMkfsOptions,
  parseDatasetName,
  parseEncryptionAlgorithm,
  parseHostPath,
  parseMountOptions,
  parsePoolName,
  parseZfsOptions,
  requireMutableZfsOptions,
  wrappingKeyBytes,
} from "@zfsilo/host";
import { bytes, invalidField, newId, parseVolumeId, Secret, type Bytes } from "@zfsilo/lib";
import type { AuthenticationMode } from "../store/model.ts";
import type { CreateVolumeInput } from "../volume/create.ts";
import type { SnapshotPolicy as SnapshotPolicyWord } from "../volume/delete.ts";
import type { GivenKey } from "../volume/keys.ts";
import type { UpdateVolumeInput } from "../volume/update.ts";
import { checkDisplayName, checkLabels, parseHostName, parseResourceId, refuseOutputOnly } from "./field.ts";

/** Fields that only the server writes, in the words of the message. */
const outputOnly = [
  "name",
  "handle",
  "status",
  "attachments",
  "condition",
  "export",
  "dataset",
  "revision",
  "createTime",
  "updateTime",
  "operation",
  "origin",
  "dependants",
  "simulated",
] as const;

/** Sizes up to this are taken: what an int64 holds, less the largest block, so that rounding up cannot overflow. */
const largestCapacity = 2n ** 63n - 1n - 131_072n;

const authenticationOf = {
  [Authentication.UNSPECIFIED]: "chap",
  [Authentication.CHAP]: "chap",
  [Authentication.MUTUAL_CHAP]: "mutual_chap",
  [Authentication.NONE]: "none",
} as const satisfies Record<Authentication, AuthenticationMode>;

export function parseCreateVolume(request: CreateVolumeRequest): CreateVolumeInput {
  const id = request.volumeId === "" ? newId("volume") : parseResourceId("volume_id", () => parseVolumeId(request.volumeId));
  const volume = request.volume ?? create(VolumeSchema);
  refuseVolumeOutput(volume);
  const mode = parseMode(volume.mode);
  requireKnownTransport(volume);
  return {
    id,
    displayName: checkDisplayName(volume.displayName, "volume.display_name"),
    labels: checkLabels(volume.labels, "volume.labels"),
    hostId: volume.host === "" ? undefined : parseHostName(volume.host, "volume.host"),
    pool: volume.pool === "" ? "" : parsePoolName(volume.pool, "volume.pool"),
    parentDataset: volume.parentDataset === "" ? "" : parseDatasetName(volume.parentDataset, "volume.parent_dataset"),
    hostLabels: parseHostLabels(request.hostLabels, volume.host),
    capacityBytes: parseCapacity(volume.capacityBytes),
    sparse: volume.sparse,
    zfsOptions: withoutMissing(parseZfsOptions(volume.zfsOptions, "volume.zfs_options")),
    encryption: parseEncryption(volume.encryption, givenKey(request.encryptionKey)),
    mode,
    filesystem: parseFilesystem(mode, volume.filesystem),
    authentication: parseAuthentication(volume.authentication),
  };
}

export function requireKnownTransport({ transport }: Volume): void {
  if (transport === Transport.UNSPECIFIED || transport === Transport.ISCSI) return;
  throw invalidField("volume.transport", "is unknown", "Known: TRANSPORT_ISCSI.");
}

/** What each path of an update mask changes. Everything else is immutable, or the server's. */
const updaters: Readonly<Record<string, (volume: Volume) => Omit<UpdateVolumeInput, "revision">>> = {
  display_name: (volume) => ({ displayName: checkDisplayName(volume.displayName, "volume.display_name") }),
  labels: (volume) => ({ labels: checkLabels(volume.labels, "volume.labels") }),
  capacity_bytes: (volume) => ({ capacityBytes: parseCapacity(volume.capacityBytes) }),
  zfs_options: (volume) => {
    const options = parseZfsOptions(volume.zfsOptions, "volume.zfs_options");
    requireMutableZfsOptions(options, "volume.zfs_options");
    return { zfsOptions: withoutMissing(options) };
  },
  "filesystem.mount_options": (volume) => ({ mountOptions: volume.filesystem?.mountOptions ?? [] }),
};

export function parseUpdateVolume(request: UpdateVolumeRequest): UpdateVolumeInput {
  const volume = request.volume ?? create(VolumeSchema);
  let input: UpdateVolumeInput = { revision: parseRevision(volume.revision) };
  for (const path of maskPaths(request.updateMask)) {
    const update = updaters[path];
    if (update === undefined) {
      throw invalidField(
        "update_mask",
        `"${path.slice(0, 80)}" cannot be changed`,
        `These can: ${Object.keys(updaters).join(", ")}.`,
      );
    }
    input = { ...input, ...update(volume) };
  }
  return input;
}

function parseEncryption(encryption: Volume["encryption"], key: GivenKey | undefined): CreateVolumeInput["encryption"] {
  if (encryption === undefined) {
    if (key !== undefined) throw invalidField("encryption_key", "is set, but volume.encryption is not");
    return undefined;
  }
  if (encryption.unlocked) throw invalidField("volume.encryption.unlocked", "is output only, leave it out");
  const { keyFile } = encryption;
  if (keyFile === "" && key === undefined) throw invalidField("encryption_key", "is required, unless volume.encryption.key_file names a file");
  if (keyFile !== "" && key !== undefined) throw invalidField("encryption_key", "is set, and volume.encryption.key_file too", "Set one of them.");
  return {
    algorithm: parseEncryptionAlgorithm(encryption.algorithm || "aes-256-gcm", "volume.encryption.algorithm"),
    keyFile: keyFile === "" ? "" : parseHostPath(keyFile, "volume.encryption.key_file"),
    keyHash: key?.hash ?? "",
  };
}

/** A key as it came; undefined when none did. From here on nothing can print it. */
export function givenKey(key: Uint8Array): GivenKey | undefined {
  if (key.length === 0) return undefined;
  if (key.length !== wrappingKeyBytes) throw invalidField("encryption_key", `has ${key.length} bytes, not ${wrappingKeyBytes}`);
  const hash = createHash("sha256").update(key).digest("hex");
  return { hex: new Secret(Buffer.from(key).toString("hex")), hash };
}

function parseHostLabels(labels: Readonly<Record<string, string>>, host: string): Readonly<Record<string, string>> {
  if (host !== "" && Object.keys(labels).length > 0) {
    throw invalidField("host_labels", "is for volumes without a host", "Leave out either host_labels or volume.host.");
  }
  return checkLabels(labels, "host_labels");
}

export function parseSnapshotPolicy(policy: SnapshotPolicy): SnapshotPolicyWord {
  switch (policy) {
    case SnapshotPolicy.UNSPECIFIED:
    case SnapshotPolicy.REFUSE:
      return "refuse";
    case SnapshotPolicy.DELETE:
      return "delete";
    case SnapshotPolicy.PROMOTE_CLONE:
      return "promote_clone";
    default:
      throw invalidField("snapshot_policy", "is unknown");
  }
}

/** Whether the record is to count although its hosts are newer. */
export function parseAcceptance(accept: Acceptance, reportOnly: boolean): boolean {
  switch (accept) {
    case Acceptance.UNSPECIFIED:
      return false;
    case Acceptance.RECORD:
      if (reportOnly) throw invalidField("accept", "is a decision, and report_only changes nothing", "Leave one of them out.");
      return true;
    default:
      throw invalidField("accept", "is unknown");
  }
}

export function parseCapacity(value: bigint): Bytes {
  if (value <= 0n) throw invalidField("volume.capacity_bytes", `${value} is not a positive size in bytes`);
  if (value > largestCapacity) throw invalidField("volume.capacity_bytes", `${value} is more than ${largestCapacity}`);
  return bytes(value);
}

/** proto3 lets any number through: one without a name here is refused. */
export function parseAuthentication(value: Authentication): AuthenticationMode {
  const known: Readonly<Record<number, AuthenticationMode>> = authenticationOf;
  const mode = known[value];
  if (mode === undefined) throw invalidField("volume.authentication", "is unknown");
  return mode;
}

export function parseMode(mode: VolumeMode): CreateVolumeInput["mode"] {
  switch (mode) {
    case VolumeMode.UNSPECIFIED:
    case VolumeMode.FILESYSTEM:
      return "filesystem";
    case VolumeMode.BLOCK:
      return "block";
    default:
      throw invalidField("volume.mode", "is unknown");
  }
}

function parseFilesystem(
  mode: CreateVolumeInput["mode"],
  filesystem: Filesystem | undefined,
): CreateVolumeInput["filesystem"] {
  if (mode === "block") {
    if (filesystem === undefined) return undefined;
    throw invalidField("volume.filesystem", "is set, but the volume is raw block");
  }
  if (filesystem !== undefined && filesystem.uuid !== "") throw invalidField("volume.filesystem.uuid", "is output only");
  const type = parseFsType(filesystem?.type || "ext4", "volume.filesystem.type");
  return {
    type,
    mkfsOptions: parseMkfsOptions(type, filesystem?.mkfsOptions ?? {}, "volume.filesystem.mkfs_options"),
    mountOptions: parseMountOptions(type, filesystem?.mountOptions ?? [], "volume.filesystem.mount_options"),
  };
}

export function refuseVolumeOutput(volume: Volume): void {
  refuseOutputOnly(VolumeSchema, volume, outputOnly, "volume");
}

function parseRevision(revision: bigint): number {
  if (revision < 0n || revision > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw invalidField("volume.revision", `${revision} is not a revision`);
  }
  return Number(revision);
}

function maskPaths(mask: FieldMask | undefined): readonly string[] {
  if (mask !== undefined && mask.paths.length > 0) return mask.paths;
  throw invalidField("update_mask", "is empty", "Name the fields to change, e.g. capacity_bytes.");
}

export function withoutMissing(options: Readonly<Partial<Record<string, string>>>): Record<string, string> {
  return Object.fromEntries(Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}
