import { parseDatasetName, parseEncryptionAlgorithm, parseHostPath, type DatasetName, type EncryptionSpec, type Zvol } from "@zfsilo/host";
import { errorChain, reasonOf, StorageError, wrapError, type VolumeId } from "@zfsilo/lib";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import type { VolumeRecord } from "../store/model.ts";
import type { WorkflowDeps } from "./deps.ts";
import { getOwnZvol } from "./ownership.ts";

/** As a journal keeps it: where the key is, never the key. */
export const encryptionContext = z.object({ algorithm: z.string(), keyFile: z.string() }).optional();
type EncryptionContext = z.infer<typeof encryptionContext>;

/** How zfs is to encrypt a new volume. A key that came with the call is taken from where it is kept meanwhile. */
export function encryptionSpec(id: VolumeId, encryption: EncryptionContext, { keys }: WorkflowDeps): { readonly encryption?: EncryptionSpec } {
  if (encryption === undefined) return {};
  const { algorithm, keyFile } = encryption;
  const key = keyFile === "" ? { hex: keys.get(id) } : { file: parseHostPath(keyFile, "volume.encryption.key_file") };
  return { encryption: { algorithm: parseEncryptionAlgorithm(algorithm), key } };
}

/** zfs complains about the key in a file; the caller said which file. */
export async function namingKeyFile<T>(encryption: EncryptionContext, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const chain = errorChain(error);
    if (encryption === undefined || encryption.keyFile === "" || !/key (?:too|material)|encryption failure/.test(chain)) throw error;
    throw wrapError(`volume.encryption.key_file: ${encryption.keyFile} holds no key of 32 bytes`, error, { field: "volume.encryption.key_file" });
  }
}

/** The dataset whose key an encrypted zvol has. One that is not ours is not touched (I1). */
export async function encryptionRootOf({ zfs }: Machine, zvol: Zvol, deps: WorkflowDeps, signal: AbortSignal): Promise<DatasetName> {
  const root = parseDatasetName(zvol.encryption?.root ?? zvol.dataset);
  if (root === zvol.dataset) return root;
  const { owner } = await zfs.getVolume(root, { signal });
  if (owner?.cluster === deps.clusterId) return root;
  throw new StorageError("precondition", `use the key of ${root} for ${zvol.dataset}: that dataset is not ours`);
}

/** A volume that is locked is opened with the key in its file, and its device awaited. One whose key is given by calls is refused. */
export async function unlockFromFile(machine: Machine, volume: VolumeRecord, doing: string, deps: WorkflowDeps, signal: AbortSignal): Promise<void> {
  const zvol = await getOwnZvol(machine, volume, deps, signal);
  if (zvol.encryption?.locked !== true) return;
  const root = await encryptionRootOf(machine, zvol, deps, signal);
  const file = await machine.keys.location(root, { signal });
  if (file === "prompt") throw locked(volume, doing);
  try {
    await machine.keys.load(root, { file }, { signal });
  } catch (error) {
    throw new StorageError(reasonOf(error) === "invalid_argument" ? "precondition" : reasonOf(error), `${doing} volumes/${volume.id}: load its key from ${file}`, {
      cause: error,
      details: { volume: `volumes/${volume.id}`, reason: "VOLUME_LOCKED" },
    });
  }
  await machine.devices.awaitZvolDevice(parseDatasetName(volume.dataset), { signal });
}

/** A clone is encrypted as its origin is, and has its key. One of a locked origin would have no device: it is refused. */
export async function recordOriginsEncryption(machine: Machine, zvol: Zvol, id: VolumeId, deps: WorkflowDeps, signal: AbortSignal): Promise<void> {
  if (zvol.encryption === undefined) return;
  const { algorithm, root } = zvol.encryption;
  requireUnlocked(zvol, { id }, "make");
  const file = await machine.keys.location(parseDatasetName(root), { signal });
  await deps.volumes.update(id, { encryption: { algorithm, keyFile: file === "prompt" ? "" : file, locked: false } });
}

export function requireUnlocked(zvol: Zvol, volume: Pick<VolumeRecord, "id">, doing: string): void {
  if (zvol.encryption?.locked === true) throw locked(volume, doing);
}

function locked(volume: Pick<VolumeRecord, "id">, doing: string): StorageError {
  return new StorageError("precondition", `${doing} volumes/${volume.id}: its encryption key is not loaded`, {
    details: { volume: `volumes/${volume.id}`, reason: "VOLUME_LOCKED" },
    hint: "Call LoadKey with its key first.",
  });
}
