import { parseVolumeId, StorageError } from "@zfsilo/lib";
import { newerOnHost } from "./compare.ts";
import { observeVolume } from "./observe.ts";
import type { VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "../workflow/deps.ts";

// A database that was put back from a backup records who had access then. Acting on that could let a second writer in. So the
// first call on a volume after a start looks at the target; later ones, and those after the first cycle, know.

/** What the target shows that is newer than the record; undefined when nothing is, or when the target cannot be looked at. */
async function newerThan(deps: WorkflowDeps, volume: VolumeRecord): Promise<number | undefined> {
  if (deps.current.has(volume.id)) return undefined;
  const target = (await observeVolume(deps, volume, [], new AbortController().signal)).targets.get(volume.hostId);
  // What needs the target fails for that. What does not must not wait for it.
  if (target === undefined) return undefined;
  const newer = newerOnHost(volume, target, deps.clusterId);
  if (newer === undefined) deps.current.add(volume.id);
  return newer;
}

/** Refuses a call on a record that is older than its hosts. */
export async function requireCurrent(deps: WorkflowDeps, volume: VolumeRecord): Promise<void> {
  const newer = await newerThan(deps, volume);
  if (newer === undefined) return;
  const name = `volumes/${volume.id}`;
  throw new StorageError("precondition", `${name}: hosts/${volume.hostId} shows generation ${newer} and the record has ${volume.generation}: the database is older`, {
    details: { volume: name, host: `hosts/${volume.hostId}`, reason: "RECORD_OUTDATED" },
    hint: "Look with SyncVolume report_only who uses it. When nobody does, SyncVolume with accept ACCEPTANCE_RECORD makes the record count. Nothing was changed.",
  });
}

/** The same for what a dead process left: undoing or finishing it acts on the record as well. */
export async function requireCurrentSubject(deps: WorkflowDeps, subject: string): Promise<void> {
  const [kind, id = ""] = subject.split("/");
  const volume = kind === "volumes" ? await deps.volumes.find(parseVolumeId(id)) : undefined;
  if (volume?.state === "ready") await requireCurrent(deps, volume);
}

/** What a change of access raises the generation to; undefined, and nothing is raised, while the record is older than its hosts. */
export async function nextGeneration(deps: WorkflowDeps, volume: VolumeRecord): Promise<{ readonly generation?: number }> {
  return (await newerThan(deps, volume)) === undefined ? { generation: volume.generation + 1 } : {};
}
