import { StorageError, type HostId, type VolumeId } from "@zfsilo/lib";
import type { WorkflowDeps } from "./deps.ts";

/** A volume's filesystem where it is mounted read-write. */
export interface Frozen {
  readonly volumeId: VolumeId;
  readonly hostId: HostId;
  readonly path: string;
}

/** Does the work while the filesystems are frozen. */
export async function whileFrozen<T>(
  _deps: WorkflowDeps,
  freezes: readonly Frozen[],
  _limitMs: number,
  _signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  if (freezes.length > 0) throw new StorageError("unimplemented", "freezing a mounted filesystem is not offered yet");
  return work();
}

export function thaw(_deps: WorkflowDeps, _freezes: readonly Frozen[], _signal: AbortSignal): Promise<void> {
  return Promise.resolve();
}
