import { parseIqn } from "@zfsilo/host";
import type { HostId, VolumeId } from "@zfsilo/lib";
import { nextGeneration } from "../reconcile/current.ts";
import type { AttachmentRecord, HostRecord, VolumeRecord } from "../store/model.ts";
import { connectVolume } from "../workflow/connect-volume.ts";
import { disconnectVolume } from "../workflow/disconnect-volume.ts";
import { presentPortals, textOf } from "../workflow/portals.ts";
import { restoreExport } from "../workflow/restore-export.ts";
import type { Answer } from "./answer.ts";
import { sessionIsThere } from "./read-back.ts";
import { butMounts, isSound, onHosts, repairFor } from "./repair.ts";
import { alreadySo, hostInRole, notNow, onVolume, runOn, type BeginWorkflow, type RequestDeps } from "./volume-requests.ts";

export async function requestConnect(deps: RequestDeps, id: VolumeId, hostId: HostId, readOnly: boolean): Promise<Answer> {
  return onVolume(deps, connectVolume.kind, id, { hostId, readOnly }, async (volume, begin) => {
    const host = await hostInRole(deps, hostId, "initiator", "host");
    if (!volume.published) throw notNow(volume, "connect", "it is not published", "Call PublishVolume first.");
    const attachment = volume.attachments.find((candidate) => candidate.hostId === hostId);
    if (attachment !== undefined) {
      requireSameAccess(volume, attachment, readOnly);
      if (isSound(volume) && (await sessionIsThere(deps, volume, hostId))) return alreadySo(volume);
      return repairFor(deps, volume, begin, butMounts(onHosts(volume, hostId)));
    }
    refuseSecondWriter(volume);
    const initiatorIqn = await initiatorNameOf(deps, host);
    refuseSharedName(volume, initiatorIqn, hostId);
    // Its host may listen elsewhere since it was published, and perhaps no longer where it was.
    if (textOf(await presentPortals(deps, volume)) !== textOf(volume.portals)) await begin(restoreExport, { volumeId: id, dropPortals: [] });
    return runOn(deps, id, begin, connectVolume, {
      volumeId: id,
      hostId,
      initiatorIqn,
      generation: volume.generation + 1,
      readOnly,
    });
  });
}

/**
 * By force it waits for nothing that is to be done on the host: what runs there for the volume ends, and what is left open there is
 * dropped. What is to be done at the target is always done, also where the host is that target.
 */
export async function requestDisconnect(
  deps: RequestDeps,
  id: VolumeId,
  hostId: HostId,
  force: boolean,
): Promise<Answer> {
  const isTarget = (await deps.volumes.find(id))?.hostId === hostId;
  const without = force && !isTarget ? hostId : undefined;
  const work = async (volume: VolumeRecord, begin: BeginWorkflow): Promise<Answer> => {
    const attachment = volume.attachments.find((candidate) => candidate.hostId === hostId);
    if (attachment === undefined) return alreadySo(volume);
    if (!force && attachment.state !== "connected" && attachment.state !== "connecting") {
      throw notNow(
        volume,
        "disconnect",
        `it is ${attachment.state} on hosts/${hostId}`,
        "Call UnmountVolume and UnstageVolume first, or use force when the host is dead.",
      );
    }
    const { initiatorIqn } = attachment;
    return runOn(deps, id, begin, disconnectVolume, { volumeId: id, hostId, initiatorIqn, force, ...(await nextGeneration(deps, volume)) });
  };
  return onVolume(deps, disconnectVolume.kind, id, { hostId, force }, work, without);
}

/** What an initiator has cached and mounted was made for the access it had: that never changes beneath it. */
function requireSameAccess(volume: VolumeRecord, { hostId, writeProtected }: AttachmentRecord, readOnly: boolean): void {
  if (writeProtected === readOnly) return;
  const how = writeProtected ? "read-only" : "for writing";
  throw notNow(volume, "connect", `it is connected to hosts/${hostId} ${how}`, "Call DisconnectVolume first.");
}

/** A filesystem that two kernels mount is lost. Raw block may be shared by software that knows how. */
function refuseSecondWriter(volume: VolumeRecord): void {
  const other = volume.attachments[0];
  if (volume.mode === "block" || other === undefined) return;
  throw notNow(
    volume,
    "connect",
    `it is connected to hosts/${other.hostId}, and a filesystem volume has one initiator`,
    "Disconnect it there first, with force when that host is dead.",
  );
}

/** LIO tells initiators apart by name alone: two machines with one name would share an ACL, and fencing one would fence both. */
function refuseSharedName(volume: VolumeRecord, iqn: string, hostId: HostId): void {
  const twin = volume.attachments.find(({ initiatorIqn }) => initiatorIqn === iqn);
  if (twin === undefined) return;
  throw notNow(
    volume,
    "connect",
    `hosts/${hostId} and hosts/${twin.hostId} have the same initiator name ${iqn}`,
    "Give each machine a name of its own in /etc/iscsi/initiatorname.iscsi.",
  );
}

async function initiatorNameOf(deps: RequestDeps, host: HostRecord): Promise<string> {
  if (host.initiatorIqn !== "") return parseIqn(host.initiatorIqn);
  return deps.machines.of(host).iscsi.initiatorName({ signal: new AbortController().signal });
}
