import type { System } from "./system.ts";

/** What stays on a machine after its first volume (modules, the parent dataset) is no trace. */
export async function oneLife({ volumes }: System): Promise<void> {
  const name = "volumes/first";
  const host = "hosts/hst_take";
  await volumes.createVolume({ volumeId: "first", volume: { host: "hosts/hst_give", capacityBytes: 64n * 1024n ** 2n } });
  await volumes.publishVolume({ name });
  await volumes.connectVolume({ name, host });
  await volumes.stageVolume({ name, host, stagingPath: "/mnt/first" });
  await volumes.unstageVolume({ name, host });
  await volumes.disconnectVolume({ name, host });
  await volumes.unpublishVolume({ name });
  await volumes.deleteVolume({ name });
}
