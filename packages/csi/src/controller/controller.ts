import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import { csi, SnapshotPolicy } from "@zfsilo/api";
import { StorageError, type Logger } from "@zfsilo/lib";
import { parseCapabilities, parseCapability } from "../capability.ts";
import { chooseExpansion } from "../capacity-range.ts";
import type { ControlPlane } from "../control-plane.ts";
import { answered, controlPlaneError } from "../control-plane-error.ts";
import { isSizeNobodyCanHave, outOfRange, withHint } from "../error-map.ts";
import type { Features, ServerFeatures } from "../features.ts";
import { isId, requireText, volumeName } from "../names.ts";
import { findVolume, getVolume, misuse, volumeToCsi } from "../volume.ts";
import { getCapacity } from "./capacity.ts";
import { createVolume } from "./create-volume.ts";
import { listVolumes, statusOf } from "./list-volumes.ts";
import { parseMutableParameters, parseParameters } from "./parameters.ts";
import { Publishing } from "./publish.ts";
import { createSnapshot, deleteSnapshot, getSnapshot, listSnapshots } from "./snapshots.ts";

const { ControllerServiceCapability_RPC_Type: Rpc } = csi;

const always = [
  Rpc.CREATE_DELETE_VOLUME,
  Rpc.PUBLISH_UNPUBLISH_VOLUME,
  Rpc.PUBLISH_READONLY,
  Rpc.LIST_VOLUMES,
  Rpc.LIST_VOLUMES_PUBLISHED_NODES,
  Rpc.GET_VOLUME,
  Rpc.VOLUME_CONDITION,
  Rpc.GET_CAPACITY,
  Rpc.EXPAND_VOLUME,
  Rpc.MODIFY_VOLUME,
  Rpc.SINGLE_NODE_MULTI_WRITER,
] as const;

/** What is offered only when the control plane can do it. */
const byFeature = {
  snapshots: [Rpc.CREATE_DELETE_SNAPSHOT, Rpc.LIST_SNAPSHOTS, Rpc.GET_SNAPSHOT],
  clones: [Rpc.CLONE_VOLUME],
} as const;

export interface ControllerDeps {
  readonly controlPlane: ControlPlane;
  readonly features: ServerFeatures;
  readonly log: Logger;
}

export function controller({ controlPlane, features, log }: ControllerDeps): ServiceImpl<typeof csi.Controller> {
  const publishing = new Publishing(controlPlane, log);
  return {
    async controllerGetCapabilities(_request, { signal }) {
      const types = capabilities(await features.get(signal));
      return create(csi.ControllerGetCapabilitiesResponseSchema, {
        capabilities: types.map((type) => ({ type: { case: "rpc" as const, value: { type } } })),
      });
    },

    createVolume: (request, { signal }) => createVolume(controlPlane, features, request, signal),
    deleteVolume: (request, { signal }) => deleteVolume(controlPlane, request, signal),
    controllerPublishVolume: (request, { signal }) => publishing.publish(request, signal),
    controllerUnpublishVolume: (request, { signal }) => publishing.unpublish(request, signal),
    validateVolumeCapabilities: (request, { signal }) => validate(controlPlane, request, signal),
    listVolumes: (request, { signal }) => listVolumes(controlPlane, request, signal),
    getCapacity: (request, { signal }) => getCapacity(controlPlane, request, signal),
    createSnapshot: (request, { signal }) => createSnapshot(controlPlane, request, signal),
    deleteSnapshot: (request, { signal }) => deleteSnapshot(controlPlane, request, signal),
    listSnapshots: (request, { signal }) => listSnapshots(controlPlane, request, signal),
    getSnapshot: (request, { signal }) => getSnapshot(controlPlane, request, signal),

    async controllerGetVolume({ volumeId }, { signal }) {
      const volume = await getVolume(controlPlane, volumeId, signal);
      return create(csi.ControllerGetVolumeResponseSchema, { volume: volumeToCsi(volume), status: statusOf(volume) });
    },

    async controllerExpandVolume(request, { signal }) {
      requireText(request.volumeId, "volume_id");
      if (request.volumeCapability !== undefined) parseCapability(request.volumeCapability);
      const capacityBytes = await expandTo(controlPlane, request, signal);
      // The control plane grows the filesystem as well, where one is mounted; elsewhere the next staging does.
      return create(csi.ControllerExpandVolumeResponseSchema, { capacityBytes, nodeExpansionRequired: false });
    },

    async controllerModifyVolume({ volumeId, mutableParameters }, { signal }) {
      requireText(volumeId, "volume_id");
      const zfsOptions = parseMutableParameters(mutableParameters);
      const { name } = await getVolume(controlPlane, volumeId, signal);
      if (Object.keys(zfsOptions).length > 0) {
        await controlPlane.volumes.updateVolume({ volume: { name, zfsOptions }, updateMask: { paths: ["zfs_options"] } }, { signal });
      }
      return create(csi.ControllerModifyVolumeResponseSchema);
    },
  };
}

function capabilities(features: Features): csi.ControllerServiceCapability_RPC_Type[] {
  return [
    ...always,
    ...(features.has("snapshots") ? byFeature.snapshots : []),
    ...(features.has("clones") ? byFeature.clones : []),
  ];
}

/** Grows a volume with its filesystem; one that is large enough already is looked at again, so that a retry finishes the work. */
export async function expandTo(
  controlPlane: ControlPlane,
  { volumeId, capacityRange }: { readonly volumeId: string; readonly capacityRange?: csi.CapacityRange | undefined },
  signal: AbortSignal,
): Promise<bigint> {
  if (capacityRange === undefined) throw new StorageError("invalid_argument", "capacity_range: is required");
  const volume = await getVolume(controlPlane, volumeId, signal);
  const { name } = volume;
  const capacityBytes = chooseExpansion(capacityRange, volume.capacityBytes, volume.zfsOptions["volblocksize"]);
  const change = { volume: { name, capacityBytes }, updateMask: { paths: ["capacity_bytes"] } };
  const answer = await controlPlane.volumes.updateVolume(change, { signal }).catch((error: unknown) => {
    throw asRangeError(error);
  });
  return answer.volume?.capacityBytes ?? capacityBytes;
}

/**
 * A volume stays in its pool, so more than all of that can never be had. external-resizer takes OUT_OF_RANGE for final and lets
 * the claim be made smaller; RESOURCE_EXHAUSTED, as where space may become free, it tries for ever (isInfeasibleError).
 */
function asRangeError(error: unknown): unknown {
  const answer = controlPlaneError(error);
  if (answer === undefined) return error;
  const never = answer.reason === "LARGER_THAN_POOL" || isSizeNobodyCanHave(answer);
  return never ? outOfRange(withHint(answer.message, answer.hint)) : error;
}

/** Snapshots outlive their volume only where a clone can take them over; without one the delete is refused, naming them. */
async function deleteVolume(controlPlane: ControlPlane, { volumeId }: csi.DeleteVolumeRequest, signal: AbortSignal): Promise<csi.DeleteVolumeResponse> {
  requireText(volumeId, "volume_id");
  const response = create(csi.DeleteVolumeResponseSchema);
  if (!isId(volumeId)) return response;
  const name = volumeName(volumeId);
  const volume = await findVolume(controlPlane, volumeId, signal);
  // Its last unpublish call may have ended between the node's access and the export.
  if (volume?.export !== undefined && volume.attachments.length === 0) {
    await controlPlane.volumes.unpublishVolume({ name }, { signal }).catch((error: unknown) => {
      if (!answered(error, Code.NotFound)) throw error;
    });
  }
  const snapshotPolicy = SnapshotPolicy.PROMOTE_CLONE;
  await controlPlane.volumes.deleteVolume({ name, allowMissing: true, snapshotPolicy }, { signal });
  return response;
}

async function validate(
  controlPlane: ControlPlane,
  request: csi.ValidateVolumeCapabilitiesRequest,
  signal: AbortSignal,
): Promise<csi.ValidateVolumeCapabilitiesResponse> {
  requireText(request.volumeId, "volume_id");
  if (request.volumeCapabilities.length === 0) throw new StorageError("invalid_argument", "volume_capabilities: is required");
  const volume = await getVolume(controlPlane, request.volumeId, signal);
  const problem = unsuitable(() => {
    const uses = parseCapabilities(request.volumeCapabilities);
    parseParameters(request.parameters, request.mutableParameters);
    return uses.map((use) => misuse(volume, use)).find((found) => found !== undefined);
  });
  if (problem !== undefined) return create(csi.ValidateVolumeCapabilitiesResponseSchema, { message: problem });
  const { volumeContext, volumeCapabilities, parameters, mutableParameters } = request;
  return create(csi.ValidateVolumeCapabilitiesResponseSchema, {
    confirmed: { volumeContext, volumeCapabilities, parameters, mutableParameters },
  });
}

/** What cannot be is an answer here, not a failure. */
function unsuitable(look: () => string | undefined): string | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof StorageError && error.reason === "invalid_argument") return error.message;
    throw error;
  }
}
