import { parentOf, parseDatasetName, parseZfsOptions, type Zvol } from "@zfsilo/host";
import { bytes, reasonOf } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import { authentications, volumeModes, type VolumeRecord } from "../store/model.ts";
import { hostId, volumeHandle, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { encryptionContext, encryptionSpec, namingKeyFile } from "./encryption.ts";
import { ownerOf } from "./ownership.ts";
import { namingOption } from "./zfs-options.ts";

/** What a volume is made with, however its first content comes into it. */
export const volumeFields = {
  volumeId,
  handle: volumeHandle,
  displayName: z.string(),
  labels: z.record(z.string(), z.string()),
  hostId,
  pool: z.string(),
  dataset: z.string(),
  capacityBytes: z.bigint(),
  sparse: z.boolean(),
  zfsOptions: z.record(z.string(), z.string()),
  encryption: encryptionContext,
  mode: z.enum(volumeModes),
  filesystem: z
    .object({
      type: z.enum(["ext4", "xfs"]),
      mkfsOptions: z.record(z.string(), z.string()),
      mountOptions: z.array(z.string()),
      uuid: z.string(),
    })
    .optional(),
  authentication: z.enum(authentications),
  targetName: z.string(),
  requestFingerprint: z.string(),
  /** Of the parent dataset, when it has to be made. */
  quotaBytes: z.bigint().optional(),
  /** Why it was placed where it is, for people. */
  notes: z.array(z.string()).optional(),
  /** Known once the zvol is made. */
  zvolGuid: z.string().optional(),
};

const context = z.object(volumeFields);

export type CreateVolumeContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * Makes the zvol and its row. Handle, dataset and filesystem UUID are chosen before the first step, so that an undo after
 * a crash knows what to look for. A failure or crash leaves no row and no zvol.
 */
export const createVolume = buildUp<CreateVolumeContext, WorkflowDeps>("volume.create", context, [
  { name: "record volume", do: recordVolume, undo: forgetVolume },
  { name: "create zvol", do: createZvol, undo: destroyZvol },
  { name: "wait for device", do: awaitDevice },
  { name: "mark ready", do: markReady },
]);

async function recordVolume(c: CreateVolumeContext, { deps }: Io): Promise<undefined> {
  if ((await deps.volumes.find(c.volumeId))?.handle === c.handle) return;
  const { filesystem } = c;
  await deps.volumes.insert(newVolumeRecord(c, { filesystem: filesystem && { ...filesystem, formatted: false } }));
}

/** The row of a volume that is being made. */
export function newVolumeRecord(
  { filesystem: _made, quotaBytes: _quota, notes: _notes, encryption, ...same }: CreateVolumeContext,
  more: Pick<VolumeRecord, "filesystem"> & Partial<Pick<VolumeRecord, "source" | "origin">>,
): VolumeRecord {
  const now = new Date();
  return {
    ...same,
    id: same.volumeId,
    encryption: encryption && { ...encryption, locked: false },
    transport: "iscsi",
    state: "creating",
    published: false,
    portals: [],
    zvolGuid: "",
    generation: 0,
    source: undefined,
    origin: "",
    condition: undefined,
    revision: 1,
    createdAt: now,
    updatedAt: now,
    attachments: [],
    ...more,
  };
}

export async function forgetVolume(c: CreateVolumeContext, { deps }: Io): Promise<void> {
  // Insert may have been refused because the id belongs to another volume: only the row of this request is ours.
  const row = await deps.volumes.find(c.volumeId);
  if (row?.handle === c.handle) await deps.volumes.remove(c.volumeId);
}

/** Concurrent creates lose /dev/zvol links for good (udev, "Unknown error 512"), so they take turns within a pool. */
export function zvolTurn({ hostId, pool }: Pick<CreateVolumeContext, "hostId" | "pool">): string {
  return `zvol:${hostId}/${pool}`;
}

async function createZvol(c: CreateVolumeContext, { deps, signal }: Io): Promise<Partial<CreateVolumeContext>> {
  const machine = await deps.machines.get(c.hostId);
  const zvol = await namingKeyFile(c.encryption, () =>
    deps.turns.run(zvolTurn(c), () => createUnderParent(machine, c, deps, signal), signal),
  );
  return { zvolGuid: zvol.guid };
}

async function createUnderParent(machine: Machine, c: CreateVolumeContext, deps: WorkflowDeps, signal: AbortSignal): Promise<Zvol> {
  const { zfs } = machine;
  const dataset = parseDatasetName(c.dataset);
  const spec = {
    dataset,
    sizeBytes: bytes(c.capacityBytes),
    sparse: c.sparse,
    options: parseZfsOptions(c.zfsOptions),
    ...encryptionSpec(c.volumeId, c.encryption, deps),
    userProperties: { "zfsilo:volume": c.volumeId, "zfsilo:cluster": deps.clusterId },
  };
  try {
    return await namingOption(() => withParent(machine, c, () => zfs.createVolume(spec, { signal }), signal));
  } catch (error) {
    if (reasonOf(error) !== "already_exists") throw error;
    // The handle in its name was made up for this operation: with our marks on it, it is what this step made before.
    const present = await zfs.getVolume(dataset, { signal });
    zfs.requireOwner(present, ownerOf({ id: c.volumeId, zvolGuid: "" }, deps));
    return present;
  }
}

/** The parent is made on first use, and looked for only when something failed for want of it. */
export async function withParent<T>(
  { zfs, zpools }: Machine,
  { dataset, quotaBytes }: Pick<CreateVolumeContext, "dataset" | "quotaBytes">,
  make: () => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  try {
    return await make();
  } catch (error) {
    const parent = parentOf(parseDatasetName(dataset));
    if (reasonOf(error) !== "precondition" || parent === undefined || parentOf(parent) === undefined) throw error;
    await zfs.ensureFilesystem(parent, { signal });
    if (quotaBytes !== undefined && quotaBytes > 0n) await zpools.setQuota(parent, quotaBytes, { signal });
    return await make();
  }
}

export async function destroyZvol(c: CreateVolumeContext, { deps, signal }: Io): Promise<void> {
  const { zfs } = await deps.machines.get(c.hostId);
  await zfs.destroyOwnedVolume(parseDatasetName(c.dataset), ownerOf({ id: c.volumeId, zvolGuid: "" }, deps), { signal });
}

export async function awaitDevice(c: CreateVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const { devices } = await deps.machines.get(c.hostId);
  await devices.awaitZvolDevice(parseDatasetName(c.dataset), { signal });
}

async function markReady(c: CreateVolumeContext, { deps }: Io): Promise<undefined> {
  await deps.volumes.update(c.volumeId, { state: "ready", zvolGuid: c.zvolGuid ?? "" });
}
