import { parseDatasetName, type GenerationMark } from "@zfsilo/host";
import type { VolumeId } from "@zfsilo/lib";
import type { StepIo } from "@zfsilo/try";
import type { VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "./deps.ts";

// Each change of who may use a volume raises its generation: in the record first, then on the host, in the same batch as the
// change. So a host never shows a newer one than the record, unless the record was put back from a backup.

type Io = StepIo<WorkflowDeps>;

/** Volumes of which this process knows that no host is newer than their record. A record is put back only between processes. */
export class CurrentRecords {
  readonly #ids = new Set<VolumeId>();

  has(id: VolumeId): boolean {
    return this.#ids.has(id);
  }

  add(id: VolumeId): void {
    this.#ids.add(id);
  }
}

/** Raises the recorded generation. Undefined leaves it as it is: the record is known to be older than its hosts. */
export async function raiseGeneration(deps: WorkflowDeps, id: VolumeId, generation: number | undefined): Promise<VolumeRecord> {
  const volume = await deps.volumes.get(id);
  if (generation === undefined || generation <= volume.generation) return volume;
  return deps.volumes.update(id, { generation });
}

/** What an export is told with a change of access. */
export function markFor({ handle }: VolumeRecord, generation: number | undefined): { readonly mark?: GenerationMark } {
  return generation === undefined ? {} : { mark: { handle, generation } };
}

const telling = { timeoutMs: 2_000 };

/** Tells the export of a change on an initiator. The change is made and recorded: a target that does not answer must not hold it up. */
export async function tellExport({ handle, hostId }: VolumeRecord, generation: number | undefined, { deps, signal, log }: Io): Promise<void> {
  if (generation === undefined) return;
  try {
    const { lio } = await deps.machines.get(hostId);
    await lio.markGeneration({ handle, generation }, { ...telling, signal });
  } catch (error) {
    log.warn({ err: error, handle }, "the export could not be told of a new generation");
  }
}

/** Conditions in which the dataset of the recorded name may not be ours. */
const notOurs = ["ZVOL_MISSING", "FOREIGN_ZVOL", "POOL_NOT_IMPORTED", "POOL_SUSPENDED"];

/** The zvol keeps the generation when the export goes. Only the mark of a record that is put back later depends on it. */
export async function tellZvol(volume: VolumeRecord, generation: number | undefined, { deps, signal, log }: Io): Promise<void> {
  if (generation === undefined || notOurs.includes(volume.condition?.reason ?? "")) return;
  try {
    const { zfs } = await deps.machines.get(volume.hostId);
    await zfs.mark(parseDatasetName(volume.dataset), { "zfsilo:generation": String(generation) }, { signal });
  } catch (error) {
    log.warn({ err: error, dataset: volume.dataset }, "the zvol could not be told of a new generation");
  }
}
