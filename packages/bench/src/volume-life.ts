import { VolumeMode } from "@zfsilo/api";
import { BugError } from "@zfsilo/lib";
import type { Volumes } from "./system.ts";

const mib = 1024n * 1024n;

/** Every call that changes something, in the order in which a volume can go through them. */
export const lifeCalls = [
  "CreateVolume",
  "PublishVolume",
  "ConnectVolume",
  "StageVolume",
  "MountVolume",
  "UpdateVolume (grow)",
  "UnmountVolume",
  "UnstageVolume",
  "DisconnectVolume",
  "UnpublishVolume",
  "DeleteVolume",
] as const;
export type LifeCall = (typeof lifeCalls)[number];

/** The calls of one volume's life with a file system on it. Each does its work: an answer without an operation is refused. */
export function lifeOf(volumes: Volumes, volumeId: string): Readonly<Record<LifeCall, () => Promise<void>>> {
  const name = `volumes/${volumeId}`;
  const host = "hosts/hst_take";
  const stagingPath = `/mnt/${volumeId}_staging`;
  const targetPath = `/mnt/${volumeId}_target`;
  const worked = async (answer: Promise<{ operation: string }>): Promise<void> => {
    const { operation } = await answer;
    if (operation === "") throw new BugError(`a call on ${name} had nothing to do`);
  };
  return {
    CreateVolume: () =>
      worked(
        volumes.createVolume({
          volumeId,
          volume: { host: "hosts/hst_give", pool: "tank", capacityBytes: 64n * mib, sparse: true, mode: VolumeMode.FILESYSTEM, filesystem: { type: "ext4" } },
        }),
      ),
    PublishVolume: () => worked(volumes.publishVolume({ name })),
    ConnectVolume: () => worked(volumes.connectVolume({ name, host })),
    StageVolume: () => worked(volumes.stageVolume({ name, host, stagingPath })),
    MountVolume: () => worked(volumes.mountVolume({ name, host, targetPath })),
    "UpdateVolume (grow)": () =>
      worked(volumes.updateVolume({ volume: { name, capacityBytes: 128n * mib }, updateMask: { paths: ["capacity_bytes"] } })),
    UnmountVolume: () => worked(volumes.unmountVolume({ name, host, targetPath })),
    UnstageVolume: () => worked(volumes.unstageVolume({ name, host })),
    DisconnectVolume: () => worked(volumes.disconnectVolume({ name, host })),
    UnpublishVolume: () => worked(volumes.unpublishVolume({ name })),
    DeleteVolume: () => worked(volumes.deleteVolume({ name })),
  };
}
