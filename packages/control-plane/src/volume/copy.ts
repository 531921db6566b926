import { childOf, parentOf, parseDatasetName, parseMountOptions, type FsType } from "@zfsilo/host";
import {
  bytes,
  invalidField,
  newId,
  newSnapshotHandle,
  newVolumeHandle,
  roundUp,
  StorageError,
  type HostId,
  type SnapshotId,
  type VolumeId,
} from "@zfsilo/lib";
import { fingerprint } from "../operation/fingerprint.ts";
import type { AuthenticationMode, CopyMode, PoolRef, SnapshotContent, SnapshotRecord, VolumeMode, VolumeRecord } from "../store/model.ts";
import { cloneVolume } from "../workflow/clone-volume.ts";
import { copyVolume } from "../workflow/copy-volume.ts";
import type { CopyContext } from "../workflow/copy-source.ts";
import { targetNameOf } from "../workflow/ownership.ts";
import type { Answer } from "./answer.ts";
import { requireCopyGrowable } from "./growth-limit.ts";
import { readySnapshot } from "./snapshot-requests.ts";
import { hostInRole, madeBefore, namingCapacity, readyVolume, runOn, type RequestDeps } from "./volume-requests.ts";

export type CopySource = { readonly copyMode: CopyMode } & (
  | { readonly kind: "snapshot"; readonly id: SnapshotId }
  | { readonly kind: "volume"; readonly id: VolumeId }
);

/** A checked CreateVolume request with a source. What is left out is as in the source. */
export interface CopyVolumeInput {
  readonly id: VolumeId;
  readonly source: CopySource;
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly hostId: HostId | undefined;
  /** Empty: that of the source. */
  readonly pool: string;
  /** Empty: that of the source. */
  readonly parentDataset: string;
  /** 0: that of the source. */
  readonly capacityBytes: bigint;
  readonly sparse: boolean;
  readonly zfsOptions: Readonly<Record<string, string>>;
  readonly mode: VolumeMode | undefined;
  readonly fsType: FsType | undefined;
  readonly mountOptions: readonly string[] | undefined;
  readonly authentication: AuthenticationMode;
}

/** What a copy is made of, whether it is a snapshot or a volume as it is now. */
interface Origin {
  readonly hostId: HostId;
  readonly pool: string;
  readonly dataset: string;
  readonly capacityBytes: bigint;
  readonly content: SnapshotContent;
  readonly snapshot: CopyContext["snapshot"];
}

/** The same id with the same fields is the same volume, however often it is asked for. */
export async function requestCopy(deps: RequestDeps, input: CopyVolumeInput): Promise<Answer> {
  const { id, ...asked } = input;
  const { source } = input;
  const requestFingerprint = fingerprint(asked);
  const workflow = source.copyMode === "clone" ? cloneVolume : copyVolume;
  const taken = newId("snapshot");
  // Nobody deletes, promotes or rolls back beside it what it takes of a volume, also not after a crash.
  const holds = source.kind === "volume" ? [`snapshots/${taken}`] : [];
  const request = { subject: `volumes/${id}`, holds, shares: sharedBy(source), kind: workflow.kind, input: asked };
  return deps.operations.submit(request, async (begin) => {
    const existing = await deps.volumes.find(id);
    if (existing !== undefined) return madeBefore(existing, requestFingerprint);
    const origin = await originOf(deps, source, taken);
    refuseMismatch(input, origin);
    if (source.copyMode === "full") await refuseEncrypted(deps, origin);
    await hostInRole(deps, origin.hostId, "target", "volume.host");
    const capacityBytes = capacityOf(input, origin);
    const { volblocksize } = origin.content;
    const place = await deps.placer.place({
      id,
      hostId: origin.hostId,
      ...besides(input, origin),
      hostLabels: {},
      capacityBytes,
      shape: { sparse: input.sparse, volblocksize: volblocksize === "" ? undefined : BigInt(volblocksize) },
    });
    try {
      const context = { ...contextOf(deps, input, origin, place.pool), capacityBytes, requestFingerprint };
      return await namingCapacity(place.pool.name, capacityBytes, () => runOn(deps, id, begin, workflow, context));
    } finally {
      place.release();
    }
  });
}

/** A copy of a volume may take hours, in which the volume goes on: it needs the snapshot alone, which ZFS keeps meanwhile. */
function sharedBy({ kind, id, copyMode }: CopySource): string[] {
  if (kind === "snapshot") return [`snapshots/${id}`];
  return copyMode === "clone" ? [`volumes/${id}`] : [];
}

/** In the pool and parent of its source, unless asked for otherwise. */
function besides({ pool, parentDataset }: CopyVolumeInput, origin: Origin): { readonly pool: string; readonly parentDataset: string } {
  if (pool !== "" && pool !== origin.pool) return { pool, parentDataset };
  return { pool: origin.pool, parentDataset: parentDataset || (parentOf(parseDatasetName(origin.dataset)) ?? "") };
}

/** What is sent is sent in clear: the copy would not be encrypted, or with another key. */
async function refuseEncrypted(deps: RequestDeps, { hostId, dataset }: Origin): Promise<void> {
  const { zfs } = await deps.machines.get(hostId);
  const { encryption } = await zfs.getVolume(parseDatasetName(dataset), { signal: new AbortController().signal });
  if (encryption === undefined) return;
  const field = "volume.source.copy_mode";
  throw new StorageError("precondition", `${field}: its source is encrypted, and a full copy would not be`, {
    details: { field },
    hint: "Make a clone, which shares the encryption of its source.",
  });
}

/** `taken`: the id of the snapshot that has to be taken of a volume. */
async function originOf(deps: RequestDeps, { kind, id }: CopySource, taken: SnapshotId): Promise<Origin> {
  if (kind === "snapshot") {
    const row: SnapshotRecord = await readySnapshot(deps, id, "volume.source.snapshot");
    const snapshot = { snapshotId: row.id, handle: row.handle, volumeId: row.volumeId, dataset: row.dataset };
    return { ...row, snapshot };
  }
  const volume: VolumeRecord = await readyVolume(deps, id, "volume.source.volume");
  const { hostId, pool, dataset, capacityBytes, mode, filesystem, zfsOptions, attachments } = volume;
  const mounted = attachments.some(({ stagingPath, readOnly }) => stagingPath !== "" && !readOnly);
  const unclean = mounted || filesystem?.unclean === true;
  const content = { mode, filesystem: filesystem && { ...filesystem, unclean }, zfsOptions, volblocksize: zfsOptions["volblocksize"] ?? "" };
  const snapshot = { snapshotId: taken, handle: newSnapshotHandle(), volumeId: volume.id, dataset };
  return { hostId, pool, dataset, capacityBytes, content, snapshot };
}

function refuseMismatch(input: CopyVolumeInput, { hostId, pool, capacityBytes, content }: Origin): void {
  if (input.hostId !== undefined && input.hostId !== hostId) {
    throw invalidField("volume.host", `its source lives on hosts/${hostId}`, "A volume is made of a source on the same host.");
  }
  if (input.source.copyMode === "clone" && input.pool !== "" && input.pool !== pool) {
    throw invalidField("volume.pool", `its source is in pool ${pool}`, "A clone is in the pool of its source. A full copy may be in another one.");
  }
  if (input.mode === "filesystem" && content.mode === "block") {
    throw invalidField("volume.mode", "its source is raw block, in which a filesystem may be or not", "A copy is never formatted: leave mode out, or ask for raw block.");
  }
  if (input.fsType !== undefined && input.fsType !== content.filesystem?.type) {
    throw invalidField("volume.filesystem.type", `its source has ${content.filesystem?.type ?? "no filesystem"}`, "A copy is never formatted.");
  }
  if (input.mountOptions !== undefined && (input.mode ?? content.mode) === "block") {
    throw invalidField("volume.filesystem", `is set, but ${input.mode === undefined ? "its source" : "the volume"} is raw block`);
  }
  if (input.capacityBytes !== 0n && input.capacityBytes < capacityBytes) {
    throw invalidField("volume.capacity_bytes", `${input.capacityBytes} is less than the ${capacityBytes} of its source`, "Leave it out, or ask for as much or more.");
  }
  requireCopyGrowable(content.filesystem, capacityBytes, input.capacityBytes);
  const blockSize = input.zfsOptions["volblocksize"];
  if (blockSize !== undefined && blockSize !== content.volblocksize) {
    throw invalidField("volume.zfs_options.volblocksize", `its source has ${content.volblocksize || "the default"}`, "The block size of a copy is that of its source.");
  }
}

/** 128 KiB is a multiple of every block size in use, for when that of the source is not known. */
const anyBlockBytes = 131_072n;

function capacityOf({ capacityBytes: asked }: CopyVolumeInput, { capacityBytes, content }: Origin): bigint {
  if (asked === 0n || asked === capacityBytes) return capacityBytes;
  return roundUp(bytes(asked), content.volblocksize === "" ? anyBlockBytes : BigInt(content.volblocksize));
}

function contextOf(
  deps: RequestDeps,
  input: CopyVolumeInput,
  { hostId, content, snapshot }: Origin,
  pool: PoolRef,
): Omit<CopyContext, "requestFingerprint" | "capacityBytes"> {
  const handle = newVolumeHandle();
  const { volblocksize: _sourceBlock, ...inherited } = content.zfsOptions;
  const { volblocksize: _sameBlock, ...options } = input.zfsOptions;
  const mode = input.mode ?? content.mode;
  const filesystem = mode === "block" ? undefined : content.filesystem;
  return {
    volumeId: input.id,
    handle,
    displayName: input.displayName,
    labels: { ...input.labels },
    hostId,
    pool: pool.name,
    dataset: childOf(parseDatasetName(pool.parentDataset), handle),
    sparse: input.sparse,
    zfsOptions: { ...inherited, ...options },
    mode,
    authentication: input.authentication,
    targetName: targetNameOf(deps.iqnPrefix, handle),
    ...(pool.quotaBytes === undefined ? {} : { quotaBytes: pool.quotaBytes }),
    source: { ...input.source },
    snapshot,
    content: {
      mode,
      ...(filesystem === undefined
        ? {}
        : {
            filesystem: {
              type: filesystem.type,
              mkfsOptions: { ...filesystem.mkfsOptions },
              mountOptions: mountOptionsOf(filesystem, input.mountOptions),
              uuid: filesystem.uuid,
              formatted: filesystem.formatted,
              unclean: filesystem.unclean === true,
              ...(filesystem.layout === undefined ? {} : { layout: filesystem.layout }),
            },
          }),
    },
  };
}

function mountOptionsOf({ type, mountOptions }: NonNullable<SnapshotContent["filesystem"]>, asked: readonly string[] | undefined): string[] {
  return [...(asked === undefined ? mountOptions : parseMountOptions(type, asked, "volume.filesystem.mount_options"))];
}
