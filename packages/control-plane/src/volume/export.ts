import type { VolumeId } from "@zfsilo/lib";
import { nextGeneration } from "../reconcile/current.ts";
import { publishVolume } from "../workflow/publish-volume.ts";
import { unpublishVolume } from "../workflow/unpublish-volume.ts";
import type { Answer } from "./answer.ts";
import { exportIsThere } from "./read-back.ts";
import { butMounts, isSound, onHosts, repairFor } from "./repair.ts";
import { alreadySo, hostInRole, inTurnOn, notNow, onVolume, runOn, type RequestDeps } from "./volume-requests.ts";

/** Recorded as published is not enough (I4): the export is read back, and brought back when the host lost it. */
export async function requestPublish(deps: RequestDeps, id: VolumeId): Promise<Answer> {
  return onVolume(deps, publishVolume.kind, id, {}, async (volume, begin) => {
    if (volume.published) {
      if (isSound(volume) && (await exportIsThere(deps, volume))) return alreadySo(volume);
      return repairFor(deps, volume, begin, butMounts(onHosts(volume)));
    }
    const host = await hostInRole(deps, volume.hostId, "target", "name");
    if (host.portals.length === 0) {
      throw notNow(volume, "publish", `hosts/${host.id} has no portal`, "Add a portal to the host with UpdateHost.");
    }
    const portals = host.portals.map((portal) => ({ ...portal }));
    return inTurnOn(deps, host.id, () => runOn(deps, id, begin, publishVolume, { volumeId: id, portals }));
  });
}

export async function requestUnpublish(deps: RequestDeps, id: VolumeId): Promise<Answer> {
  return onVolume(deps, unpublishVolume.kind, id, {}, async (volume, begin) => {
    if (!volume.published) return alreadySo(volume);
    const connected = volume.attachments.map(({ hostId }) => `hosts/${hostId}`);
    if (connected.length > 0) {
      throw notNow(volume, "unpublish", `it is connected to ${connected.join(", ")}`, "Call DisconnectVolume for each first.");
    }
    return inTurnOn(deps, volume.hostId, async () => runOn(deps, id, begin, unpublishVolume, { volumeId: id, ...(await nextGeneration(deps, volume)) }));
  });
}
