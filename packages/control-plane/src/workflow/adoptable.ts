import { describeProbe, parseDatasetName, parseFsType, readHolders, zvolPath, type Probe, type Zvol } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import type { Machine } from "../machines/machines.ts";
import type { VolumeRecord } from "../store/model.ts";
import type { AdoptVolumeContext, FoundZvol } from "./adopt-volume.ts";
import type { WorkflowDeps } from "./deps.ts";

/** What a zvol must be before it becomes a volume's. Nothing is changed by looking. Throws precondition with what to do. */
export async function checkAdoptable(
  machine: Machine,
  c: AdoptVolumeContext,
  volume: VolumeRecord | undefined,
  deps: WorkflowDeps,
  signal: AbortSignal,
): Promise<FoundZvol> {
  const zvol = await machine.zfs.getVolume(parseDatasetName(c.dataset), { signal });
  const refuse = refusalOf(c);
  if (zvol.guid !== c.guid) {
    throw refuse("GUID_MISMATCH", `its guid is ${zvol.guid}, not ${c.guid}`, "It is another one than was meant. Look with `zfs get guid`, then decide.");
  }
  requireMarks(zvol, c, deps);
  if (c.replaces !== undefined && zvol.sizeBytes < c.replaces.capacityBytes) {
    throw refuse("ZVOL_SMALLER", `it has ${zvol.sizeBytes} bytes, and the volume has ${c.replaces.capacityBytes}`, "Restore a copy that is whole.");
  }
  if (zvol.encryption?.locked === true) throw refuse("VOLUME_LOCKED", "its key is not loaded", `Run \`zfs load-key ${zvol.encryption.root}\` on the host first.`);
  if (zvol.encryption !== undefined && zvol.encryption.root !== c.dataset) {
    throw refuse("ENCRYPTION_ROOT", `it has the key of ${zvol.encryption.root}`, `Run \`zfs change-key ${c.dataset}\` to give it a key of its own.`);
  }
  const device = await machine.devices.awaitZvolDevice(zvol.dataset, { signal });
  await requireUnused(machine, c, signal);
  const probe = await machine.filesystems.probe(device.path, { signal });
  const filesystem = requireContent(probe, c, volume);
  const { algorithm } = zvol.encryption ?? {};
  return {
    capacityBytes: zvol.sizeBytes,
    sparse: zvol.refreservationBytes === 0n,
    volblocksize: zvol.volblocksizeBytes.toString(),
    generation: zvol.generation ?? 0,
    ...(algorithm === undefined ? {} : { encryption: { algorithm, keyFile: "" } }),
    ...(filesystem && { filesystem }),
    before: { ...zvol.owner, ...(zvol.formatted === undefined ? {} : { formatted: zvol.formatted }) },
  };
}

type Refuse = (reason: string, why: string, hint: string) => StorageError;

function refusalOf({ dataset, volumeId, hostId }: AdoptVolumeContext): Refuse {
  return (reason, why, hint) =>
    new StorageError("precondition", `adopt ${dataset} on hosts/${hostId} as volumes/${volumeId}: ${why}`, {
      details: { volume: `volumes/${volumeId}`, host: `hosts/${hostId}`, reason },
      hint: `${hint} Nothing was changed.`,
    });
}

/** Also marks that a stream brought along speak for whose it is. */
function requireMarks({ claimedBy }: Zvol, c: AdoptVolumeContext, deps: WorkflowDeps): void {
  if (claimedBy === undefined || c.replaceMarks || (claimedBy.volume === c.volumeId && claimedBy.cluster === deps.clusterId)) return;
  const whose = claimedBy.cluster === deps.clusterId ? `volumes/${claimedBy.volume}` : `volume ${claimedBy.volume} of cluster ${claimedBy.cluster}`;
  const hint = "If it is nobody's any more, say so with replace_marks.";
  throw refusalOf(c)("FOREIGN_ZVOL", `its marks say that it belongs to ${whose}`, hint);
}

async function requireUnused({ executor }: Machine, c: AdoptVolumeContext, signal: AbortSignal): Promise<void> {
  const holders = await readHolders(executor, zvolPath(c.dataset), { signal });
  const [first] = holders;
  if (first === undefined) return;
  throw refusalOf(c)("IN_USE", `it is held by ${holders.map(({ what }) => what).join(", ")}`, first.remedy);
}

/** Undefined for raw block. A volume with a filesystem keeps the one that is there: nothing is ever made on what was adopted. */
function requireContent(probe: Probe, c: AdoptVolumeContext, volume: VolumeRecord | undefined): FoundZvol["filesystem"] {
  const refuse = refusalOf(c);
  const mode = c.made?.mode ?? volume?.mode;
  if (mode === "block") return undefined;
  if (probe.kind !== "filesystem") {
    const hint = "A volume with a filesystem is adopted with its filesystem. For anything else say mode VOLUME_MODE_BLOCK, or create a new volume.";
    throw refuse("UNEXPECTED_CONTENT", `it holds ${describeProbe(probe)}`, hint);
  }
  const type = parseFsType(probe.type, "filesystem");
  const recorded = volume?.filesystem;
  if (recorded !== undefined && (recorded.type !== type || (recorded.formatted && recorded.uuid !== probe.uuid))) {
    throw refuse("UNEXPECTED_CONTENT", `it holds ${describeProbe(probe)}, and the volume had ${recorded.type} ${recorded.uuid}`, "Look whether it is the right copy.");
  }
  return { type, uuid: probe.uuid, mkfsOptions: {}, mountOptions: [] };
}
