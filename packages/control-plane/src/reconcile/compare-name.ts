import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import type { Difference } from "./compare.ts";
import type { InitiatorView, Observation } from "./observation.ts";

/**
 * The name a machine logs in with against the one that it was connected with, as after it was installed anew. The new name is let in
 * only when nothing can write under the old one any more: this machine has no session, and the target has none of that name either.
 */
export function compareName(volume: VolumeRecord, { hostId, initiatorIqn }: AttachmentRecord, view: InitiatorView, seen: Observation): Difference[] {
  const { initiatorName: name, statedName } = view;
  if (name === "" || name === initiatorIqn) return [];
  const host = `hosts/${hostId}`;
  const wait = obstacle();
  return [
    {
      host,
      reason: "INITIATOR_RENAMED",
      expected: `initiator name ${initiatorIqn}`,
      observed: `${name}, and it was ${initiatorIqn} when it was connected`,
      renamed: wait === undefined ? { to: name } : { wait },
    },
  ];

  function obstacle(): string | undefined {
    if (statedName !== "" && statedName !== name) return `the host's record says ${statedName}: change it with UpdateHost (initiator_iqn), or the machine's name`;
    const twin = volume.attachments.find((other) => other.hostId !== hostId && other.initiatorIqn === name);
    if (twin !== undefined) return `hosts/${twin.hostId} is connected under that name: give each machine a name of its own`;
    if (view.sessions.get(volume.targetName)?.state === "LOGGED_IN") return "its session under the old name works: it moves when the volume is connected again, or when the session is down";
    const target = seen.targets.get(volume.hostId);
    if (target === undefined) return `hosts/${volume.hostId} has to be seen first`;
    const old = target.exports.get(volume.handle)?.initiators.find(({ iqn }) => iqn === initiatorIqn);
    if (old?.session !== "active") return undefined;
    return `another machine is logged in under the old name: look which, then DisconnectVolume with force for ${host} ends its access, and ConnectVolume lets this one in`;
  }
}
