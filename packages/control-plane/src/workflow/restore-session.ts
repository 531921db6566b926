import { parseIqn, type NodeRecordKey } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import type { AttachmentRecord, VolumeRecord } from "../store/model.ts";
import { findAttachment, markCutOff, requireAttachment } from "./attachment.ts";
import { allowInitiator, findDevice, logInInitiator } from "./connect-volume.ts";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { markFor, raiseGeneration } from "./generation.ts";
import { isAmong, portalsToTry } from "./portals.ts";

const context = z.object({
  volumeId,
  hostId,
  device: z.string().optional(),
  /** The machine has another name than when it was connected, and nothing of the old one is left. */
  renamedTo: z.string().optional(),
  /** With another name the access changes. */
  generation: z.number().optional(),
});

/**
 * Logs an initiator in again that is recorded as connected and lost its session, as after its reboot. A session that is
 * there and down is given time to come back, which it does by itself once its target is back: what is mounted lives on.
 */
export const restoreSession = forward<z.infer<typeof context>, WorkflowDeps>("volume.restore-session", context, [
  {
    name: "follow new name",
    async do({ volumeId, hostId, renamedTo, generation }, { deps, signal }) {
      if (renamedTo === undefined) return undefined;
      const volume = await raiseGeneration(deps, volumeId, generation);
      const attachment = requireAttachment(volume, hostId);
      if (attachment.initiatorIqn === renamedTo) return undefined;
      const { lio } = await deps.machines.get(volume.hostId);
      // The old name is fenced off before the new one is on record: whoever still has it can write no more.
      await lio.removeInitiator(parseIqn(volume.targetName), parseIqn(attachment.initiatorIqn), { signal }, markFor(volume, generation).mark);
      await markCutOff(deps, volume, hostId);
      await deps.volumes.updateAttachment(volumeId, hostId, { initiatorIqn: renamedTo });
      return undefined;
    },
  },
  {
    name: "let initiator in",
    async do(c, { deps, signal }) {
      const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
      await allowInitiator(await deps.machines.get(volume.hostId), volume, attachment, signal, c.generation);
      return undefined;
    },
  },
  {
    name: "log in",
    async do(c, { deps, signal }) {
      const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
      await recoverSession(await deps.machines.get(c.hostId), volume, attachment, signal);
      return undefined;
    },
  },
  {
    name: "wait for device",
    async do(c, { deps, signal }) {
      const volume = await deps.volumes.get(c.volumeId);
      const { path } = await findDevice(await deps.machines.get(c.hostId), volume, signal);
      return { device: path };
    },
  },
  {
    name: "record device",
    async do(c, { deps }) {
      await deps.volumes.updateAttachment(c.volumeId, c.hostId, { device: c.device ?? "" });
      return undefined;
    },
  },
]);

/**
 * One that does not come back may hold what nobody accepts any more: it is replaced, unless something is mounted of it. One at a
 * portal that its host no longer has, or under a name that was fenced off, can never come back: it is given up also under a mount,
 * which then is mounted anew.
 */
async function recoverSession(
  machine: Machine,
  volume: VolumeRecord,
  attachment: AttachmentRecord,
  signal: AbortSignal,
): Promise<void> {
  const { iscsi } = machine;
  const target = parseIqn(volume.targetName);
  const session = await iscsi.findSession({ target }, { signal });
  if (session !== undefined && session.state !== "LOGGED_IN") {
    const { portal, initiatorName } = session;
    const isLost = initiatorName !== attachment.initiatorIqn || (portal !== undefined && !isAmong(volume.portals, portal));
    if (isLost) await iscsi.abandonSession({ target }, { signal });
    else if (!(await comesBack(machine, { target, portal: portal ?? portalsToTry(volume)[0] }, signal))) await iscsi.logout({ target }, { signal });
  }
  await logInInitiator(machine, volume, attachment, signal, session?.portal);
}

/** Waits for it, as long as a login would. */
async function comesBack({ iscsi }: Machine, key: NodeRecordKey, signal: AbortSignal): Promise<boolean> {
  try {
    await iscsi.login(key, { signal });
    return true;
  } catch (error) {
    signal.throwIfAborted();
    const session = await iscsi.findSession(key, { signal });
    if (session?.state === "LOGGED_IN") throw error;
    return false;
  }
}
