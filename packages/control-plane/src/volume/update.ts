import { parseMountOptions } from "@zfsilo/host";
import { bytes, invalidField, roundUp, StorageError, type VolumeId } from "@zfsilo/lib";
import type { VolumeRecord } from "../store/model.ts";
import type { VolumeChange } from "../store/stores.ts";
import { expandVolume } from "../workflow/expand-volume.ts";
import { setVolumeOptions } from "../workflow/set-volume-options.ts";
import type { Answer } from "./answer.ts";
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

export async function requestUpdate(deps: RequestDeps, id: VolumeId, input: UpdateVolumeInput): Promise<Answer> {
  return onVolume(deps, "volume.update", id, input, async (volume, begin) => {
    refuseStale(volume, input.revision);
    const change = rowChange(volume, input);
    const { capacityBytes } = input;
    if (capacityBytes !== undefined && capacityBytes < volume.capacityBytes) {
      throw invalidField(
        "volume.capacity_bytes",
        `${capacityBytes} is less than the ${volume.capacityBytes} it has`,
        "A volume never shrinks: make a smaller one and copy.",
      );
    }
    // One operation for each subject at a time: the hosts first, then the fields that live only in the row.
    let answer = await changeOptions(deps, volume, begin, input.zfsOptions);
    answer = (await expand(deps, volume, begin, capacityBytes)) ?? answer;
    if (Object.keys(change).length > 0) await deps.volumes.update(id, change);
    return { volume: await deps.volumes.get(id), operation: answer };
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

async function expand(deps: RequestDeps, volume: VolumeRecord, begin: BeginWorkflow, asked: bigint | undefined) {
  if (asked === undefined || asked === volume.capacityBytes) return undefined;
  const block = BigInt(volume.zfsOptions["volblocksize"] ?? 16_384n);
  const capacityBytes = roundUp(bytes(asked), block);
  const started = await namingCapacity(volume.pool, capacityBytes, () => begin(expandVolume, { volumeId: volume.id, capacityBytes }));
  return started.operation;
}

function rowChange(volume: VolumeRecord, input: UpdateVolumeInput): VolumeChange {
  return {
    ...(input.displayName === undefined ? {} : { displayName: input.displayName }),
    ...(input.labels === undefined ? {} : { labels: input.labels }),
    ...(input.mountOptions === undefined ? {} : { filesystem: withMountOptions(volume, input.mountOptions) }),
  };
}

function withMountOptions(volume: VolumeRecord, mountOptions: readonly string[]): VolumeRecord["filesystem"] {
  if (volume.filesystem === undefined) {
    throw invalidField("volume.filesystem.mount_options", "a raw block volume has no filesystem");
  }
  const { type } = volume.filesystem;
  return {
    ...volume.filesystem,
    mountOptions: parseMountOptions(type, mountOptions, "volume.filesystem.mount_options"),
  };
}

function refuseStale(volume: VolumeRecord, revision: number): void {
  if (revision === 0 || revision === volume.revision) return;
  throw new StorageError("aborted", `update volumes/${volume.id}: its revision is ${volume.revision}, not ${revision}`, {
    details: { volume: `volumes/${volume.id}`, field: "volume.revision" },
    hint: "Somebody else changed it. Read it again, decide again, and repeat the update.",
  });
}
