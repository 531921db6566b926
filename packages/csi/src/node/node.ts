import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { csi } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { parseCapability } from "../capability.ts";
import type { ControlPlane } from "../control-plane.ts";
import { expandTo } from "../controller/controller.ts";
import { hostName, requireText } from "../names.ts";
import { attachmentOf, getVolume, volumeToCsi } from "../volume.ts";
import { isShownAt } from "./attachment.ts";
import { publishOnNode } from "./publish.ts";
import { stageOnNode } from "./stage.ts";
import { volumeStats } from "./stats.ts";

const { NodeServiceCapability_RPC_Type: Rpc } = csi;

const capabilities = [
  Rpc.STAGE_UNSTAGE_VOLUME,
  Rpc.GET_VOLUME_STATS,
  Rpc.EXPAND_VOLUME,
  Rpc.VOLUME_CONDITION,
  Rpc.SINGLE_NODE_MULTI_WRITER,
] as const;

export interface NodeDeps {
  readonly controlPlane: ControlPlane;
  /** Id of this machine's host in the control plane. It may have to be waited for: the agent has to enrol first. */
  readonly nodeId: (signal: AbortSignal) => Promise<string>;
  /** 0: the caller decides. */
  readonly maxVolumes: number;
}

/**
 * What happens on this machine. It is the control plane that acts on it, through the executor of its host; so what was
 * begun is known, journaled and finished even when this process dies.
 */
export function node({ controlPlane, nodeId, maxVolumes }: NodeDeps): ServiceImpl<typeof csi.Node> {
  const thisHost = async (signal: AbortSignal): Promise<string> => hostName(await nodeId(signal));
  return {
    async nodeGetInfo(_request, { signal }) {
      return create(csi.NodeGetInfoResponseSchema, { nodeId: await nodeId(signal), maxVolumesPerNode: BigInt(maxVolumes) });
    },

    nodeGetCapabilities() {
      return create(csi.NodeGetCapabilitiesResponseSchema, {
        capabilities: capabilities.map((type) => ({ type: { case: "rpc" as const, value: { type } } })),
      });
    },

    async nodeStageVolume(request, { signal }) {
      await stageOnNode(controlPlane, await thisHost(signal), request, signal);
      return create(csi.NodeStageVolumeResponseSchema);
    },

    async nodeUnstageVolume({ volumeId, stagingTargetPath }, { signal }) {
      requireText(volumeId, "volume_id");
      requireText(stagingTargetPath, "staging_target_path");
      const host = await thisHost(signal);
      const volume = await getVolume(controlPlane, volumeId, signal);
      const stagedAt = attachmentOf(volume, host)?.stagingPath ?? "";
      if (stagedAt === stagingTargetPath) await controlPlane.volumes.unstageVolume({ name: volume.name, host }, { signal });
      return create(csi.NodeUnstageVolumeResponseSchema);
    },

    async nodePublishVolume(request, { signal }) {
      await publishOnNode(controlPlane, await thisHost(signal), request, signal);
      return create(csi.NodePublishVolumeResponseSchema);
    },

    async nodeUnpublishVolume({ volumeId, targetPath }, { signal }) {
      requireText(volumeId, "volume_id");
      requireText(targetPath, "target_path");
      const host = await thisHost(signal);
      const { name } = await getVolume(controlPlane, volumeId, signal);
      await controlPlane.volumes.unmountVolume({ name, host, targetPath }, { signal });
      return create(csi.NodeUnpublishVolumeResponseSchema);
    },

    async nodeGetVolumeStats({ volumeId, volumePath }, { signal }) {
      requireText(volumeId, "volume_id");
      requireText(volumePath, "volume_path");
      const host = await thisHost(signal);
      const volume = await getVolume(controlPlane, volumeId, signal);
      if (!isShownAt(volume, host, volumePath)) throw notThere(volume.name, volumePath);
      return volumeStats(controlPlane, volume, host, signal);
    },

    async nodeExpandVolume(request, { signal }) {
      requireText(request.volumeId, "volume_id");
      requireText(request.volumePath, "volume_path");
      const host = await thisHost(signal);
      if (request.volumeCapability !== undefined) parseCapability(request.volumeCapability);
      const volume = await getVolume(controlPlane, request.volumeId, signal);
      if (!isShownAt(volume, host, request.volumePath)) throw notThere(volume.name, request.volumePath);
      const capacityRange = request.capacityRange ?? create(csi.CapacityRangeSchema, { requiredBytes: volumeToCsi(volume).capacityBytes });
      const capacityBytes = await expandTo(controlPlane, { volumeId: request.volumeId, capacityRange }, signal);
      return create(csi.NodeExpandVolumeResponseSchema, { capacityBytes });
    },
  };
}

function notThere(name: string, path: string): StorageError {
  return new StorageError("not_found", `volume_path: ${name} is not at ${path}`);
}
