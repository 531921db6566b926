import type { ExpectedOwner } from "@zfsilo/host";
import type { VolumeHandle } from "@zfsilo/lib";
import type { VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "./deps.ts";

/** The marks that make a zvol ours (I1), with its guid once known: one made anew under the same name is not ours. */
export function ownerOf(
  volume: Pick<VolumeRecord, "id" | "zvolGuid">,
  deps: Pick<WorkflowDeps, "clusterId">,
): ExpectedOwner {
  return {
    volume: volume.id,
    cluster: deps.clusterId,
    ...(volume.zvolGuid === "" ? {} : { guid: volume.zvolGuid }),
  };
}

/** iSCSI names are per volume, so that fencing one never disturbs another. */
export function targetNameOf(iqnPrefix: string, handle: VolumeHandle): string {
  return `${iqnPrefix}:${handle}`;
}

export function devicePathOf(volume: Pick<VolumeRecord, "dataset">): string {
  return `/dev/zvol/${volume.dataset}`;
}
