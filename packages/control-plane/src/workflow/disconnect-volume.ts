import { parseIqn } from "@zfsilo/host";
import { forward, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import { markCutOff } from "./attachment.ts";
import { logOutInitiator } from "./connect-volume.ts";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { markFor, raiseGeneration } from "./generation.ts";
import { rememberLeftover } from "./stale-session.ts";

const context = z.object({
  volumeId,
  hostId,
  initiatorIqn: z.string(),
  /** Leave the initiator alone: it is dead, hung or unreachable. Its access ends at the target all the same. */
  force: z.boolean(),
  generation: z.number().optional(),
});

export type DisconnectVolumeContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * Logs the initiator out and shuts it out at the target, which by itself ends its session and its writes (I8). By force it is not
 * asked, and what it has is removed when it answers again. Only goes forward; a crash is resumed.
 */
export const disconnectVolume = forward<DisconnectVolumeContext, WorkflowDeps>("volume.disconnect", context, [
  { name: "log out", do: logOut },
  { name: "shut initiator out", do: shutOut },
  { name: "forget attachment", do: forgetAttachment },
]);

async function logOut(c: DisconnectVolumeContext, { deps, signal }: Io): Promise<undefined> {
  if (c.force) {
    await rememberLeftover(deps, c);
    return;
  }
  const volume = await deps.volumes.get(c.volumeId);
  // Refused while the device is mounted, whoever mounted it: what is not written yet would be lost.
  await logOutInitiator(await deps.machines.get(c.hostId), volume, signal);
}

async function shutOut(c: DisconnectVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const volume = await raiseGeneration(deps, c.volumeId, c.generation);
  const { lio } = await deps.machines.get(volume.hostId);
  const { mark } = markFor(volume, c.generation);
  await lio.removeInitiator(parseIqn(volume.targetName), parseIqn(c.initiatorIqn), { signal }, mark);
}

async function forgetAttachment(c: DisconnectVolumeContext, { deps }: Io): Promise<undefined> {
  await markCutOff(deps, await deps.volumes.get(c.volumeId), c.hostId);
  await deps.volumes.removeAttachment(c.volumeId, c.hostId);
}
