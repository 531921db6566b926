import { parseHostPath } from "@zfsilo/host";
import { StorageError, type HostId, type VolumeId } from "@zfsilo/lib";
import { requireAllDone } from "@zfsilo/try";
import { findDevice } from "./connect-volume.ts";
import type { WorkflowDeps } from "./deps.ts";
import { showsDevice } from "./paths.ts";

/** A volume's filesystem where it is mounted read-write. */
export interface Frozen {
  readonly volumeId: VolumeId;
  readonly hostId: HostId;
  readonly path: string;
}

/**
 * Does the work while the filesystems are frozen, and thaws them whatever comes of it; when we die, their hosts do at the limit.
 * One that was thawed before its time may have been written to: then what was done is no good, and it fails.
 */
export async function whileFrozen<T>(
  deps: WorkflowDeps,
  freezes: readonly Frozen[],
  limitMs: number,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const result = await orThaw(deps, freezes, signal, async () => {
    // At once: one after the other would add up their flushes. None is left to freeze after the thaw.
    const outcomes = await Promise.allSettled(freezes.map((one) => freeze(deps, one, limitMs, signal)));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    return work();
  });
  if (await thaw(deps, freezes, signal)) return result;
  throw new StorageError("timeout", `a filesystem did not stay frozen for as long as the snapshot took (limit ${limitMs} ms)`, {
    details: { reason: "FREEZE_EXPIRED" },
    hint: "Nothing of it is kept. Repeat the call with a larger freeze_limit_seconds.",
  });
}

async function orThaw<T>(deps: WorkflowDeps, freezes: readonly Frozen[], signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // Why it failed matters more; the undo thaws again.
    await thaw(deps, freezes, signal).catch(() => undefined);
    throw error;
  }
}

async function freeze(deps: WorkflowDeps, { volumeId, hostId, path }: Frozen, limitMs: number, signal: AbortSignal): Promise<void> {
  const volume = await deps.volumes.get(volumeId);
  const machine = await deps.machines.get(hostId);
  const device = await findDevice(machine, volume, signal);
  const place = parseHostPath(path);
  // What stands at the path is trusted only when it is the volume's device: another filesystem would hang, and this one go on.
  if (!showsDevice(await machine.mounts.find(place, { signal }), device)) {
    throw new StorageError("precondition", `freeze volumes/${volumeId} on hosts/${hostId}: it is not what is mounted at ${path}`, {
      details: { volume: `volumes/${volumeId}`, host: `hosts/${hostId}` },
      hint: "SyncVolume shows what is missing, and mounts it again.",
    });
  }
  await machine.freezer.freeze(place, { limitSeconds: Math.ceil(limitMs / 1000) }, { signal });
}

/** Each of them, also when another cannot be thawed. "Not frozen" is done; answers whether all were until now. */
export async function thaw(deps: WorkflowDeps, freezes: readonly Frozen[], signal: AbortSignal): Promise<boolean> {
  const outcomes = await Promise.allSettled(
    freezes.map(async ({ hostId, path }) => (await deps.machines.get(hostId)).freezer.thaw(parseHostPath(path), { signal })),
  );
  requireAllDone(outcomes);
  return outcomes.every((outcome) => outcome.status === "fulfilled" && outcome.value);
}
