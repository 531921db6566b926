import { assertUnderRoots, parseHostPath, type HostPath, type Zvol } from "@zfsilo/host";
import { invalidField, type Secret, type VolumeId } from "@zfsilo/lib";
import { repairClaimed } from "../reconcile/apply.ts";
import type { VolumeRecord } from "../store/model.ts";
import { encryptionRootOf } from "../workflow/encryption.ts";
import { loadKey } from "../workflow/load-key.ts";
import { getOwnZvol } from "../workflow/ownership.ts";
import { unloadKey } from "../workflow/unload-key.ts";
import type { Answer } from "./answer.ts";
import { butMounts, onHosts, repairFor } from "./repair.ts";
import { alreadySo, notNow, onVolume, type RequestDeps } from "./volume-requests.ts";

/** A key that came with a call. Only its hash may be kept: it tells a repeated call from another one. */
export interface GivenKey {
  readonly hex: Secret;
  readonly hash: string;
}

/** Key files lie where the operator of the control plane said that they may. */
export function checkKeyFile(path: string, roots: readonly string[]): void {
  const field = "volume.encryption.key_file";
  assertUnderRoots(parseHostPath(path, field), roots.map((root): HostPath => parseHostPath(root)), field);
}

/** Opens a locked volume, and brings back what waited for that: its export, when it is published. */
export async function requestLoadKey(deps: RequestDeps, id: VolumeId, key: GivenKey | undefined): Promise<Answer> {
  return onVolume(deps, loadKey.kind, id, { keyHash: key?.hash }, async (volume, begin) => {
    const signal = new AbortController().signal;
    const machine = await deps.machines.get(volume.hostId);
    const zvol = await encryptedZvol(deps, volume, "load the key of");
    const root = await encryptionRootOf(machine, zvol, deps, signal);
    const file = await machine.keys.location(root, { signal });
    if (file === "prompt" && key === undefined) throw invalidField("encryption_key", "is required: the volume has no key file");
    if (file !== "prompt" && key !== undefined) throw invalidField("encryption_key", `is not wanted: the key lies in ${file}`);
    if (zvol.encryption?.locked !== true) {
      // It answers only to the right key, also when there is nothing to do.
      if (key !== undefined) await machine.keys.load(root, { hex: key.hex }, { signal });
      return alreadySo((await repairClaimed(deps, volume, begin, { scope: () => false })).volume);
    }
    const context = { volumeId: id, root, keyFile: file === "prompt" ? "" : file };
    const { operation } = await deps.keys.holding(id, key?.hex, () => begin(loadKey, context));
    const now = await deps.volumes.get(id);
    if (!now.published) return { volume: now, operation };
    return { ...(await repairFor(deps, now, begin, butMounts(onHosts(now)))), operation };
  });
}

/** Locks a volume, and with it the clones that share its key. */
export async function requestUnloadKey(deps: RequestDeps, id: VolumeId): Promise<Answer> {
  return onVolume(deps, unloadKey.kind, id, {}, async (volume, begin) => {
    if (volume.published) throw notNow(volume, "unload the key of", "it is published", "Call UnpublishVolume first.");
    const { dataset, encryption } = await encryptedZvol(deps, volume, "unload the key of");
    if (encryption !== undefined && encryption.root !== dataset) {
      throw notNow(volume, "unload the key of", `it shares that of ${encryption.root}, whose clone it is`, "Unload the key of that volume: its clones are locked with it.");
    }
    const operation = encryption?.locked === true ? undefined : (await begin(unloadKey, { volumeId: id })).operation;
    const looked = await repairClaimed(deps, await deps.volumes.get(id), begin, { scope: () => false });
    return { volume: looked.volume, operation };
  });
}

async function encryptedZvol(deps: RequestDeps, volume: VolumeRecord, doing: string): Promise<Zvol> {
  const zvol = await getOwnZvol(await deps.machines.get(volume.hostId), volume, deps, new AbortController().signal);
  if (zvol.encryption !== undefined) return zvol;
  throw notNow(volume, doing, "it is not encrypted", "Encryption is chosen when a volume is made.");
}
