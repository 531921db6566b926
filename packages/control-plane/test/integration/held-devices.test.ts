import { afterEach, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService;
afterEach(() => service[Symbol.asyncDispose]());

const datasetOf = async (id: string): Promise<string> =>
  String(((await service.call("VolumeService/GetVolume", { name: `volumes/${id}` }))["volume"] as Json)["dataset"]);
const held = /^failed_precondition: .*held by LVM volume vg0-data \(dm-0\)/;

it("an LVM volume on a zvol is named by what it keeps from happening, and is in nobody's way once it is gone", async () => {
  service = await runningService();
  const { world } = service.plane;
  for (const id of ["vol_a", "vol_b"]) {
    await service.volume(id, "initial");
    world.setVolumeGroup("give", `/dev/zvol/${await datasetOf(id)}`, "vg0-data");
  }
  // Each is retried for some seconds first: a device may only be busy for a moment.
  await Promise.all([
    expect(service.call("VolumeService/PublishVolume", { name: "volumes/vol_a" })).rejects.toThrow(held),
    expect(service.call("VolumeService/DeleteVolume", { name: "volumes/vol_b" })).rejects.toThrow(held),
  ]);
  for (const id of ["vol_a", "vol_b"]) world.setVolumeGroup("give", `/dev/zvol/${await datasetOf(id)}`, "vg0-data", false);
  await service.call("VolumeService/PublishVolume", { name: "volumes/vol_a" });
  await service.call("VolumeService/DeleteVolume", { name: "volumes/vol_b" });
});

it("a disk with an LVM volume on it is not logged out under it", async () => {
  service = await runningService();
  const { world } = service.plane;
  await service.volume("vol_a", "connected", { mode: "VOLUME_MODE_BLOCK", filesystem: undefined });
  world.setVolumeGroup("take", "/dev/sda", "vg0-data");
  const disconnect = () => service.call("VolumeService/DisconnectVolume", { name: "volumes/vol_a", host: "hosts/take" });
  await expect(disconnect()).rejects.toThrow(held);
  expect((await service.call("VolumeService/SyncVolume", { name: "volumes/vol_a" }))["differences"]).toBeUndefined();
  world.setVolumeGroup("take", "/dev/sda", "vg0-data", false);
  await disconnect();
});
