import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { zfsOptions } from "@zfsilo/host";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
});
afterEach(() => service[Symbol.asyncDispose]());

const first = {
  compression: "zstd-3",
  volblocksize: "16384",
  sync: "always",
  logbias: "throughput",
  primarycache: "metadata",
  secondarycache: "none",
  copies: "2",
  dedup: "sha256,verify",
  checksum: "sha512",
};
const then = {
  compression: "off",
  sync: "standard",
  logbias: "latency",
  primarycache: "all",
  secondarycache: "metadata",
  copies: "1",
  dedup: "off",
  checksum: "on",
};

const update = (options: object): Promise<Json> =>
  service.call("VolumeService/UpdateVolume", { volume: { name: "volumes/vol_a", zfsOptions: options }, updateMask: "zfsOptions" });

async function onHost(handle: string): Promise<Json> {
  const argv = ["zfs", "get", "-Hp", "-o", "property,value", Object.keys(zfsOptions).join(","), `tank/zfsilo/${handle}`] as const;
  const { stdout } = await service.plane.world.executor("give").run(argv, { signal: new AbortController().signal });
  return Object.fromEntries(stdout.trim().split("\n").map((line) => line.split("\t") as [string, string]));
}

describe("ZFS options", () => {
  it("are all set at creation, and those that can change do", async () => {
    expect(Object.keys(first).sort()).toEqual(Object.keys(zfsOptions).sort());
    const handle = await service.volume("vol_a", "initial", { zfsOptions: first });
    expect(await onHost(handle)).toEqual(first);
    await update(then);
    expect(await onHost(handle)).toEqual({ ...first, ...then });
    const { volume } = await service.call("VolumeService/GetVolume", { name: "volumes/vol_a" });
    expect((volume as Json)["zfsOptions"]).toEqual({ ...first, ...then });
  });

  it("keep their block size, whatever else is asked for with it", async () => {
    const handle = await service.volume("vol_a", "initial", { zfsOptions: first });
    await expect(update({ ...then, volblocksize: "8192" })).rejects.toThrow('invalid_argument: volume.zfs_options["volblocksize"]');
    expect(await onHost(handle)).toEqual(first);
  });

  it("name the one whose value the ZFS of the host does not know", async () => {
    await expect(service.volume("vol_b", "initial", { zfsOptions: { checksum: "blake3" } })).rejects.toThrow(/^invalid_argument: .*volume\.zfs_options\["checksum"\]/);
    await service.volume("vol_a", "initial");
    await expect(update({ checksum: "blake3" })).rejects.toThrow(/^invalid_argument: .*volume\.zfs_options\["checksum"\]/);
  });
});
