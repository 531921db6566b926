import { isDeepStrictEqual } from "node:util";
import { parseMountOptions } from "@zfsilo/host";
import { bytes, invalidField, roundUp, StorageError, type VolumeId } from "@zfsilo/lib";
import type { VolumeRecord } from "../store/model.ts";
import { editVolume, type Edit } from "../workflow/edit-volume.ts";
import { expandVolume } from "../workflow/expand-volume.ts";
import { setVolumeOptions } from "../workflow/set-volume-options.ts";
import type { Answer } from "./answer.ts";
import { requireGrowable } from "./growth-limit.ts";
import { namingCapacity, onVolume, type BeginWorkflow, type RequestDeps } from "./volume-requests.ts";

/** A checked UpdateVolume request. A key that is present is to be changed, whatever its value. */
export interface UpdateVolumeInput {
  /** 0: whatever it is now. */
  readonly revision: number;
  readonly displayName?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly capacityBytes?: bigint;
  readonly zfsOptions?: Readonly<Record<string, string>>;
  readonly mountOptions?: readonly string[];
}

/**
 * Changes what is not so yet. A call that repeats an earlier one comes with the revision from before that one: as long as
 * nothing else was done to the volume since, it is no stranger's, and what the earlier call did not get done is done now.
 */
export async function requestUpdate(deps: RequestDeps, id: VolumeId, input: UpdateVolumeInput): Promise<Answer> {
  return onVolume(deps, "volume.update", id, input, async (volume, begin, earlier) => {
    const before = isStale(volume, input.revision) ? await earlier() : undefined;
    if (before === undefined) refuseStale(volume, input.revision);
    const capacityBytes = newCapacity(volume, input.capacityBytes);
    const edit = editOf(volume, input);
    // One operation for each subject at a time: the hosts first, then the fields that live only in the row.
    let done = await changeOptions(deps, volume, begin, input.zfsOptions);
    done = (await expand(deps, volume, begin, capacityBytes)) ?? done;
    if (Object.keys(edit).length > 0) done = (await begin(editVolume, { volumeId: id, edit })).operation;
    return { volume: await deps.volumes.get(id), operation: done ?? before?.id };
  });
}

async function changeOptions(
  deps: RequestDeps,
  volume: VolumeRecord,
  begin: BeginWorkflow,
  zfsOptions: UpdateVolumeInput["zfsOptions"],
) {
  if (zfsOptions === undefined) return undefined;
  const changed = Object.fromEntries(
    Object.entries(zfsOptions).filter(([name, value]) => volume.zfsOptions[name] !== value),
  );
  if (Object.keys(changed).length === 0) return undefined;
  return (await begin(setVolumeOptions, { volumeId: volume.id, zfsOptions: changed })).operation;
}

/** Undefined: it stays as large as it is. */
function newCapacity(volume: VolumeRecord, asked: bigint | undefined): bigint | undefined {
  if (asked === undefined) return undefined;
  const block = BigInt(volume.zfsOptions["volblocksize"] ?? 16_384n);
  const capacityBytes = roundUp(bytes(asked), block);
  if (asked === volume.capacityBytes || capacityBytes === volume.capacityBytes) return undefined;
  if (asked > volume.capacityBytes) return capacityBytes;
  throw invalidField(
    "volume.capacity_bytes",
    `${asked} is less than the ${volume.capacityBytes} it has`,
    "A volume never shrinks: make a smaller one and copy.",
  );
}

async function expand(deps: RequestDeps, volume: VolumeRecord, begin: BeginWorkflow, capacityBytes: bigint | undefined) {
  if (capacityBytes === undefined) return undefined;
  await requireGrowable(deps, volume, capacityBytes);
  const release = await deps.placer.grow(volume, capacityBytes);
  try {
    const started = await namingCapacity(volume.pool, capacityBytes, () => begin(expandVolume, { volumeId: volume.id, capacityBytes }));
    return started.operation;
  } finally {
    release();
  }
}

/** The fields that live only in the row and are not as asked. */
function editOf(volume: VolumeRecord, { displayName, labels, mountOptions }: UpdateVolumeInput): Edit {
  const mount = mountOptions === undefined ? undefined : checkedMountOptions(volume, mountOptions);
  return {
    ...(displayName === undefined || displayName === volume.displayName ? {} : { displayName }),
    ...(labels === undefined || isDeepStrictEqual(labels, volume.labels) ? {} : { labels: { ...labels } }),
    ...(mount === undefined || isDeepStrictEqual(mount, volume.filesystem?.mountOptions) ? {} : { mountOptions: [...mount] }),
  };
}

function checkedMountOptions({ filesystem }: VolumeRecord, mountOptions: readonly string[]): readonly string[] {
  const field = "volume.filesystem.mount_options";
  if (filesystem === undefined) throw invalidField(field, "a raw block volume has no filesystem");
  return parseMountOptions(filesystem.type, mountOptions, field);
}

function isStale(volume: VolumeRecord, revision: number): boolean {
  return revision !== 0 && revision !== volume.revision;
}

function refuseStale(volume: VolumeRecord, revision: number): void {
  if (!isStale(volume, revision)) return;
  throw new StorageError("aborted", `update volumes/${volume.id}: its revision is ${volume.revision}, not ${revision}`, {
    details: { volume: `volumes/${volume.id}`, field: "volume.revision" },
    hint: "Somebody else changed it. Read it again, decide again, and repeat the update.",
  });
}
