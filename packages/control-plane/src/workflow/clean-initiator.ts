import { parseIqn } from "@zfsilo/host";
import { forward, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { deadMounts, endStaleSession, staleMounts, unmountStale } from "./stale-session.ts";

const context = z.object({
  volumeId,
  hostId,
  /** What the volume's target was called, when the volume may be gone. */
  targetName: z.string().optional(),
  /** Found before the session goes: afterwards nothing tells whose they were. */
  mounts: z.array(z.object({ target: z.string(), majorMinor: z.string(), root: z.string() })).optional(),
});

export type CleanInitiatorContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * Takes what an initiator still has of a volume it is no longer connected to, as when it comes back after a fence: the dead
 * session, its mounts, and the node record with a secret that nobody accepts any more.
 */
export const cleanInitiator = forward<CleanInitiatorContext, WorkflowDeps>("volume.clean-initiator", context, [
  { name: "find stale mounts", do: findMounts },
  { name: "end stale session", do: endSession },
  { name: "remove stale mounts", do: removeMounts },
  { name: "remove node record", do: removeRecord },
]);

async function findMounts(c: CleanInitiatorContext, { deps, signal }: Io): Promise<Partial<CleanInitiatorContext>> {
  const host = await deps.hosts.get(c.hostId);
  const machine = deps.machines.of(host);
  const dead = await deadMounts(machine, host.allowedRoots, signal);
  return { mounts: [...dead, ...(await staleMounts(machine, await targetOf(c, deps), signal))] };
}

async function endSession(c: CleanInitiatorContext, { deps, signal }: Io): Promise<undefined> {
  await endStaleSession(await deps.machines.get(c.hostId), await targetOf(c, deps), signal);
}

async function removeMounts(c: CleanInitiatorContext, { deps, signal }: Io): Promise<undefined> {
  await unmountStale(await deps.machines.get(c.hostId), c.mounts ?? [], signal);
}

async function removeRecord(c: CleanInitiatorContext, { deps, signal }: Io): Promise<undefined> {
  const { targetName } = await targetOf(c, deps);
  const { iscsi } = await deps.machines.get(c.hostId);
  await iscsi.removeRecordsOf(parseIqn(targetName), { signal });
  await deps.leftovers.remove(c.hostId, targetName);
}

async function targetOf({ volumeId: id, targetName }: CleanInitiatorContext, { volumes }: WorkflowDeps): Promise<{ readonly targetName: string }> {
  return targetName === undefined ? volumes.get(id) : { targetName };
}
