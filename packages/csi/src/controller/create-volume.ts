import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { CreateVolumeRequestSchema } from "@zfsilo/api";
import {
  Authentication,
  CopyMode,
  csi,
  Transport,
  VolumeMode,
  VolumeSourceSchema,
  type Volume,
  type VolumeSource,
} from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { createHash } from "node:crypto";
import { parseCapabilities, type VolumeUse } from "../capability.ts";
import { chooseCapacity, isWithin } from "../capacity-range.ts";
import type { ControlPlane } from "../control-plane.ts";
import { answered, controlPlaneError } from "../control-plane-error.ts";
import { isSizeNobodyCanHave, outOfRange, withHint } from "../error-map.ts";
import type { ServerFeatures } from "../features.ts";
import { checkId, checkName, hostName, idForName, snapshotName, volumeName } from "../names.ts";
import { getVolume, volumeToCsi } from "../volume.ts";
import { parseParameters, type VolumeParameters } from "./parameters.ts";

/** Says what was asked for, so that a repeated call with something else is recognised although the volume has grown since. */
const requestLabel = "csi.zfsilo.io/request";

/** What a class without `csi.storage.k8s.io/fstype` asks for. */
export const defaultFsType = "ext4";

const authentications = {
  chap: Authentication.CHAP,
  mutual_chap: Authentication.MUTUAL_CHAP,
  none: Authentication.NONE,
} as const satisfies Record<VolumeParameters["authentication"], Authentication>;

const copyModes = { clone: CopyMode.CLONE, full: CopyMode.FULL } as const satisfies Record<VolumeParameters["copyMode"], CopyMode>;

/**
 * CSI CreateVolume. The id comes from the name, and the control plane makes a volume once under an id: so a call may be
 * repeated, at once or after the death of whoever, and while it still runs joins it.
 */
export async function createVolume(
  controlPlane: ControlPlane,
  features: ServerFeatures,
  request: csi.CreateVolumeRequest,
  signal: AbortSignal,
): Promise<csi.CreateVolumeResponse> {
  const name = checkName(request.name);
  const uses = parseCapabilities(request.volumeCapabilities);
  const parameters = parseParameters(request.parameters, request.mutableParameters);
  refuseTopology(request);
  refuseSecrets(request);
  const source = await readSource(controlPlane, features, request.volumeContentSource, parameters, signal);
  const print = requestPrint(request, uses[0]);
  const message = toMessage({ name, use: uses[0], parameters, request, source, print });
  const volume = await made(controlPlane, message, signal);
  requireSame(volume, request, print);
  return create(csi.CreateVolumeResponseSchema, { volume: volumeToCsi(volume) });
}

interface Source {
  readonly source: VolumeSource;
  readonly capacityBytes: bigint;
}

interface Wanted {
  readonly name: string;
  readonly use: VolumeUse;
  readonly parameters: VolumeParameters;
  readonly request: csi.CreateVolumeRequest;
  readonly source: Source | undefined;
  readonly print: string;
}

function toMessage({ name, use, parameters, request, source, print }: Wanted): MessageInitShape<typeof CreateVolumeRequestSchema> {
  const { zfsOptions, mkfsOptions } = parameters;
  // A copy has the filesystem of its source, whatever that is.
  const fsType = use.kind === "block" ? "" : use.fsType || (source === undefined ? defaultFsType : "");
  if (use.kind === "block" && Object.keys(mkfsOptions).length > 0) {
    throw new StorageError("invalid_argument", "parameters: mkfs.* are not for raw block");
  }
  const capacityBytes = chooseCapacity({
    range: request.capacityRange,
    blockSize: zfsOptions["volblocksize"],
    fsType,
    ...(source && { sourceBytes: source.capacityBytes }),
  });
  return {
    volumeId: idForName(name),
    volume: {
      displayName: name,
      labels: { ...parameters.labels, [requestLabel]: print },
      host: parameters.host === "" ? "" : hostName(parameters.host),
      pool: parameters.pool,
      capacityBytes,
      sparse: parameters.sparse,
      zfsOptions,
      mode: use.kind === "block" ? VolumeMode.BLOCK : VolumeMode.FILESYSTEM,
      ...(use.kind === "block" ? {} : { filesystem: { type: fsType, mkfsOptions, mountOptions: [...use.mountOptions] } }),
      transport: Transport.ISCSI,
      authentication: authentications[parameters.authentication],
      ...(source && { source: source.source }),
    },
    hostLabels: parameters.hostLabels,
  };
}

async function made(
  controlPlane: ControlPlane,
  message: MessageInitShape<typeof CreateVolumeRequestSchema>,
  signal: AbortSignal,
): Promise<Volume> {
  try {
    const { volume } = await controlPlane.volumes.createVolume(message, { signal });
    if (volume !== undefined) return volume;
    throw new StorageError("internal", "create volume: the control plane answered without one");
  } catch (error) {
    // Made with another size or other options, which may still be what this call asks for.
    if (answered(error, Code.AlreadyExists)) return getVolume(controlPlane, message.volumeId ?? "", signal);
    throw asParameterError(error);
  }
}

/** A host or pool that a StorageClass names and that is not there is a wrong parameter, not a missing volume. */
function asParameterError(error: unknown): unknown {
  const answer = controlPlaneError(error);
  if (answer !== undefined && isSizeNobodyCanHave(answer)) return outOfRange(withHint(answer.message, answer.hint));
  if (answer === undefined || !["volume.host", "volume.pool"].includes(answer.field)) return error;
  return new StorageError("invalid_argument", `parameters: ${answer.message}`, { cause: error, hint: answer.hint });
}

/** CSI spec, "CreateVolume": a volume of this name that is not what is asked for now is ALREADY_EXISTS. */
function requireSame(volume: Volume, request: csi.CreateVolumeRequest, print: string): void {
  const differs =
    volume.labels[requestLabel] !== print
      ? "other parameters, capabilities or content"
      : isWithin(volume.capacityBytes, request.capacityRange)
        ? undefined
        : `${volume.capacityBytes} bytes, which is not in the capacity_range`;
  if (differs === undefined) return;
  throw new StorageError("already_exists", `name: a volume was made under ${JSON.stringify(request.name)} with ${differs}`);
}

/** What must be the same when a call is repeated. Mutable parameters are not: they may have been modified since. */
function requestPrint(request: csi.CreateVolumeRequest, use: VolumeUse): string {
  const asked = [
    Object.entries(request.parameters).sort(([a], [b]) => (a < b ? -1 : 1)),
    use.kind,
    use.kind === "block" || request.volumeContentSource !== undefined ? use.fsType : use.fsType || defaultFsType,
    request.volumeContentSource?.type.case ?? "",
    sourceId(request.volumeContentSource),
  ];
  return createHash("sha256").update(JSON.stringify(asked)).digest("hex").slice(0, 32);
}

function sourceId(content: csi.VolumeContentSource | undefined): string {
  const type = content?.type;
  if (type?.case === "snapshot") return type.value.snapshotId;
  return type?.case === "volume" ? type.value.volumeId : "";
}

async function readSource(
  controlPlane: ControlPlane,
  features: ServerFeatures,
  content: csi.VolumeContentSource | undefined,
  { copyMode }: VolumeParameters,
  signal: AbortSignal,
): Promise<Source | undefined> {
  if (content === undefined) return undefined;
  const { type } = content;
  const field = "volume_content_source";
  if (type.case === undefined) throw new StorageError("invalid_argument", `${field}: has neither snapshot nor volume`);
  if (!(await features.get(signal)).has("clones")) throw new StorageError("invalid_argument", `${field}: the control plane cannot make volumes of others`);
  if (type.case === "snapshot") {
    const name = snapshotName(checkId(type.value.snapshotId, `${field}.snapshot.snapshot_id`));
    const { snapshot } = await controlPlane.snapshots.getSnapshot({ name }, { signal });
    return { source: sourceMessage({ case: "snapshot", value: name }, copyMode), capacityBytes: snapshot?.capacityBytes ?? 0n };
  }
  const { capacityBytes } = await getVolume(controlPlane, type.value.volumeId, signal);
  return { source: sourceMessage({ case: "volume", value: volumeName(type.value.volumeId) }, copyMode), capacityBytes };
}

function sourceMessage(source: VolumeSource["source"], copyMode: VolumeParameters["copyMode"]): VolumeSource {
  return create(VolumeSourceSchema, { source, copyMode: copyModes[copyMode] });
}

function refuseTopology({ accessibilityRequirements }: csi.CreateVolumeRequest): void {
  const places = [...(accessibilityRequirements?.requisite ?? []), ...(accessibilityRequirements?.preferred ?? [])];
  if (places.every(({ segments }) => Object.keys(segments).length === 0)) return;
  throw new StorageError("invalid_argument", "accessibility_requirements: volumes are reached over the network and have no topology", {
    hint: "Choose hosts with the parameters host or hostLabel.*.",
  });
}

/** The keys of encrypted volumes are not given by CSI. Who sends some thinks that they are, so it is said before there is data. */
function refuseSecrets({ secrets }: csi.CreateVolumeRequest): void {
  if (Object.keys(secrets).length === 0) return;
  throw new StorageError("invalid_argument", "secrets: are not used; the volume would not be encrypted with them", {
    hint: "Leave csi.storage.k8s.io/provisioner-secret-name out of the StorageClass. docs/encryption.md says how volumes are encrypted.",
  });
}
