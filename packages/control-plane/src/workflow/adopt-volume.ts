import { parseDatasetName, parseMountOptions } from "@zfsilo/host";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { FilesystemRecord, VolumeRecord } from "../store/model.ts";
import { checkAdoptable } from "./adoptable.ts";
import { hostId, volumeHandle, volumeId } from "./context.ts";
import { newVolumeRecord, volumeFields } from "./create-volume.ts";
import type { WorkflowDeps } from "./deps.ts";
import { encryptionContext } from "./encryption.ts";

const filesystem = volumeFields.filesystem;
const marks = z.object({ volume: z.string().optional(), cluster: z.string().optional(), formatted: z.string().optional() });

const context = z.object({
  volumeId,
  hostId,
  pool: z.string(),
  dataset: z.string(),
  guid: z.string(),
  replaceMarks: z.boolean(),
  /** Of a volume that was there before: its zvol is replaced. */
  replaces: z.object({ pool: z.string(), dataset: z.string(), zvolGuid: z.string(), capacityBytes: z.bigint(), generation: z.number(), formatted: z.boolean() }).optional(),
  /** Of a volume that is made of it. */
  made: z
    .object({
      handle: volumeHandle,
      displayName: volumeFields.displayName,
      labels: volumeFields.labels,
      mode: volumeFields.mode,
      mountOptions: z.array(z.string()),
      authentication: volumeFields.authentication,
      targetName: z.string(),
      requestFingerprint: z.string(),
    })
    .optional(),
  /** What the look at the zvol found; there is nothing to put back as long as it is absent. */
  found: z
    .object({
      capacityBytes: z.bigint(),
      sparse: z.boolean(),
      volblocksize: z.string(),
      generation: z.number(),
      encryption: encryptionContext,
      filesystem,
      before: marks,
    })
    .optional(),
});

export type AdoptVolumeContext = z.infer<typeof context>;
export type FoundZvol = NonNullable<AdoptVolumeContext["found"]>;
type Io = StepIo<WorkflowDeps>;

/**
 * Makes a zvol that is there the zvol of a volume: of one that lost its own, or of one that is made for it. Nothing on it is
 * written but our marks. What is adopted counts as formatted (I2). A failure or crash takes the marks away again that it put.
 */
export const adoptVolume = buildUp<AdoptVolumeContext, WorkflowDeps>("volume.adopt", context, [
  { name: "check zvol", do: check },
  { name: "record volume", do: recordVolume, undo: forgetVolume },
  { name: "mark zvol", do: mark, undo: unmark },
  { name: "record adoption", do: recordAdoption, undo: recordBefore },
]);

async function check(c: AdoptVolumeContext, { deps, signal }: Io): Promise<Partial<AdoptVolumeContext>> {
  const volume = await deps.volumes.find(c.volumeId);
  const found = await checkAdoptable(await deps.machines.get(c.hostId), c, volume, deps, signal);
  // Which options there are shows only now that the filesystem is known.
  if (found.filesystem && c.made) parseMountOptions(found.filesystem.type, c.made.mountOptions, "volume.filesystem.mount_options");
  return { found };
}

async function recordVolume(c: AdoptVolumeContext, { deps }: Io): Promise<undefined> {
  if (c.made === undefined || (await deps.volumes.find(c.volumeId))?.handle === c.made.handle) return;
  await deps.volumes.insert(newRecord(c, c.made));
}

function newRecord(c: AdoptVolumeContext, made: NonNullable<AdoptVolumeContext["made"]>): VolumeRecord {
  const found = foundOf(c);
  const { mountOptions, ...same } = made;
  const { capacityBytes, sparse, encryption } = found;
  const place = { volumeId: c.volumeId, hostId: c.hostId, pool: c.pool, dataset: c.dataset };
  const zfsOptions = { volblocksize: found.volblocksize };
  return newVolumeRecord(
    { ...same, ...place, capacityBytes, sparse, zfsOptions, ...(encryption && { encryption }) },
    { filesystem: found.filesystem && { ...found.filesystem, mountOptions, formatted: true, unclean: true } },
  );
}

async function forgetVolume(c: AdoptVolumeContext, { deps }: Io): Promise<void> {
  const row = await deps.volumes.find(c.volumeId);
  if (row !== undefined && row.handle === c.made?.handle) await deps.volumes.remove(c.volumeId);
}

const properties = { volume: "zfsilo:volume", cluster: "zfsilo:cluster", formatted: "zfsilo:formatted" } as const;
type Mark = keyof typeof properties;
const markNames = Object.keys(properties) as Mark[];

function wantedMarks(c: AdoptVolumeContext, deps: WorkflowDeps): Readonly<Partial<Record<Mark, string>>> {
  const { filesystem } = foundOf(c);
  return { volume: c.volumeId, cluster: deps.clusterId, ...(filesystem && { formatted: `${filesystem.type}:${filesystem.uuid}` }) };
}

async function mark(c: AdoptVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const { zfs } = await deps.machines.get(c.hostId);
  const wanted = wantedMarks(c, deps);
  const user = Object.fromEntries(markNames.flatMap((name) => (wanted[name] === undefined ? [] : [[properties[name], wanted[name]]])));
  await zfs.setProperties(parseDatasetName(c.dataset), {}, user, { signal });
}

/** Only what was put, and only on the zvol that it was put on. */
async function unmark(c: AdoptVolumeContext, { deps, signal }: Io): Promise<void> {
  const { zfs } = await deps.machines.get(c.hostId);
  const dataset = parseDatasetName(c.dataset);
  const { before } = foundOf(c);
  const wanted = wantedMarks(c, deps);
  if ((await zfs.findVolume(dataset, { signal }))?.guid !== c.guid) return;
  for (const name of markNames.filter((one) => wanted[one] !== undefined && wanted[one] !== before[one])) {
    const value = before[name];
    if (value === undefined) await zfs.unmark(dataset, properties[name], { signal });
    else await zfs.mark(dataset, { [properties[name]]: value }, { signal });
  }
}

async function recordAdoption(c: AdoptVolumeContext, { deps }: Io): Promise<undefined> {
  const { capacityBytes, generation, filesystem } = foundOf(c);
  const volume = await deps.volumes.get(c.volumeId);
  await deps.volumes.update(c.volumeId, {
    state: "ready",
    pool: c.pool,
    dataset: c.dataset,
    zvolGuid: c.guid,
    capacityBytes,
    generation: Math.max(volume.generation, generation),
    ...(filesystem && volume.filesystem && { filesystem: adopted(volume.filesystem, filesystem.uuid) }),
  });
  deps.current.add(c.volumeId);
}

/** A copy may have been taken while it was mounted. */
function adopted(recorded: FilesystemRecord, uuid: string): FilesystemRecord {
  return { ...recorded, uuid, formatted: true, making: false, unclean: true };
}

async function recordBefore(c: AdoptVolumeContext, { deps }: Io): Promise<void> {
  const { replaces } = c;
  const volume = await deps.volumes.find(c.volumeId);
  // The row of a volume that was made for it goes with the step that made it.
  if (replaces === undefined || volume === undefined) return;
  const { formatted, ...before } = replaces;
  await deps.volumes.update(c.volumeId, { ...before, ...(volume.filesystem && { filesystem: { ...volume.filesystem, formatted } }) });
}

function foundOf({ found, dataset }: AdoptVolumeContext): FoundZvol {
  if (found === undefined) throw new Error(`adopt ${dataset}: it was not looked at before it was needed`);
  return found;
}
