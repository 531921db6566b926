import { parseDatasetName, zvolPath, type ExpectedOwner, type Zvol } from "@zfsilo/host";
import type { VolumeHandle } from "@zfsilo/lib";
import type { Machine } from "../machines/machines.ts";
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

/** The volume's zvol, once it is known to be the one we made for it. Throws not_found, and precondition for a foreign one. */
export async function getOwnZvol({ zfs }: Machine, volume: VolumeRecord, deps: WorkflowDeps, signal: AbortSignal): Promise<Zvol> {
  const zvol = await zfs.getVolume(parseDatasetName(volume.dataset), { signal });
  zfs.requireOwner(zvol, ownerOf(volume, deps));
  return zvol;
}

/** iSCSI names are per volume, so that fencing one never disturbs another. */
export function targetNameOf(iqnPrefix: string, handle: VolumeHandle): string {
  return `${iqnPrefix}:${handle}`;
}

export function devicePathOf(volume: Pick<VolumeRecord, "dataset">): string {
  return zvolPath(volume.dataset);
}
