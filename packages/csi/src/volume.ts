import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { csi, VolumeMode, type Attachment, type Volume } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import type { ControlPlane } from "./control-plane.ts";
import { answered } from "./control-plane-error.ts";
import type { VolumeUse } from "./capability.ts";
import { checkId, idOf, volumeName } from "./names.ts";

/** One volume by its CSI id. Throws not_found. */
export async function getVolume({ volumes }: ControlPlane, volumeId: string, signal: AbortSignal): Promise<Volume> {
  const { volume } = await volumes.getVolume({ name: volumeName(checkId(volumeId, "volume_id")) }, { signal });
  if (volume === undefined) throw new StorageError("internal", `volume ${volumeId}: the control plane answered without one`);
  return volume;
}

export async function findVolume(controlPlane: ControlPlane, volumeId: string, signal: AbortSignal): Promise<Volume | undefined> {
  try {
    return await getVolume(controlPlane, volumeId, signal);
  } catch (error) {
    if (answered(error, Code.NotFound) || (error instanceof StorageError && error.reason === "not_found")) return undefined;
    throw error;
  }
}

/** Why a volume cannot be used this way; undefined when it can. */
export function misuse(volume: Volume, use: VolumeUse): string | undefined {
  const kind = volume.mode === VolumeMode.BLOCK ? "block" : "filesystem";
  if (kind !== use.kind) return `${volume.name} is a ${kind} volume`;
  const type = volume.filesystem?.type ?? "";
  if (use.fsType !== "" && use.fsType !== type) return `${volume.name} has ${type}, not ${use.fsType}`;
  return undefined;
}

/** CSI spec, error tables: what does not fit is ALREADY_EXISTS where the volume is in use in another way, else INVALID_ARGUMENT. */
export function requireFit(volume: Volume, use: VolumeUse, isInUse: boolean): void {
  const problem = misuse(volume, use);
  if (problem !== undefined) throw new StorageError(isInUse ? "already_exists" : "invalid_argument", `volume_capability: ${problem}`);
}

export function attachmentOf(volume: Volume, host: string): Attachment | undefined {
  return volume.attachments.find((attachment) => attachment.host === host);
}

/** Ids of the nodes that may use it. */
export function publishedNodes(volume: Volume): string[] {
  return volume.attachments.map(({ host }) => idOf(host));
}

export function volumeToCsi(volume: Volume): csi.Volume {
  return create(csi.VolumeSchema, {
    volumeId: idOf(volume.name),
    capacityBytes: volume.capacityBytes,
    ...contentSource(volume),
  });
}

export function conditionOf({ condition }: Volume): csi.VolumeCondition {
  if (condition?.abnormal !== true) return create(csi.VolumeConditionSchema, { abnormal: false, message: "as recorded" });
  return create(csi.VolumeConditionSchema, { abnormal: true, message: `${condition.reason}: ${condition.message}` });
}

function contentSource({ source }: Volume): { contentSource?: csi.VolumeContentSource } {
  const from = source?.source;
  if (from?.case === "snapshot") {
    const type = { case: "snapshot", value: create(csi.VolumeContentSource_SnapshotSourceSchema, { snapshotId: idOf(from.value) }) } as const;
    return { contentSource: create(csi.VolumeContentSourceSchema, { type }) };
  }
  if (from?.case === "volume") {
    const type = { case: "volume", value: create(csi.VolumeContentSource_VolumeSourceSchema, { volumeId: idOf(from.value) }) } as const;
    return { contentSource: create(csi.VolumeContentSourceSchema, { type }) };
  }
  return {};
}
