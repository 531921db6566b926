import { afterEach, beforeEach, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

// tytso/e2fsprogs#74, #98: an ext4 made small cannot follow its device everywhere, and a zvol that grew never shrinks.

let service: RunningService;
const name = "volumes/one";
const at = { name, host: "hosts/take" };
const gib = (count: number): string => `${BigInt(count) << 30n}`;
const wide = { pool: "wide" };
const small = { ...wide, filesystem: { type: "ext4", mkfsOptions: { block_size: "1024" } } };

beforeEach(async () => {
  service = await runningService();
  service.plane.world.addMachine({ name: "give", pools: [{ name: "wide", sizeBytes: 16n << 40n }] });
  const pools = [{ name: "tank" }, { name: "wide" }];
  await service.call("HostService/UpdateHost", { host: { name: "hosts/give", pools }, updateMask: "pools" });
});

afterEach(async () => {
  await service[Symbol.asyncDispose]();
});

function grow(capacityBytes: string): Promise<Json> {
  return service.call("VolumeService/UpdateVolume", { volume: { name, capacityBytes }, updateMask: "capacityBytes" });
}

async function run(host: string, ...argv: [string, ...string[]]): Promise<string> {
  const { stdout } = await service.plane.world.executor(host).run(argv, { signal: new AbortController().signal });
  return stdout;
}

async function zvolBytes(): Promise<string> {
  return (await run("give", "zfs", "list", "-Hp", "-o", "volsize", "-t", "volume")).trim();
}

const before = String(64 << 20);

it("makes a small ext4 so that it can grow far", async () => {
  await service.volume("one", "mounted", wide);
  expect(await grow(gib(2048))).toMatchObject({ volume: { capacityBytes: gib(2048) } });
  expect(await run("take", "dumpe2fs", "-h", "/dev/sda")).toContain("Block size:               4096");
});

it("refuses what a mounted ext4 cannot follow before the zvol grows, and says how far it goes", async () => {
  await service.volume("one", "mounted", small);
  await expect(grow(gib(1024))).rejects.toThrow(
    `volume.capacity_bytes: its ext4 has blocks of 1024 bytes and follows to ${(64n << 20n) + (200n << 30n)} bytes in one step, not to ${gib(1024)}`,
  );
  expect(await zvolBytes()).toBe(before);
  await grow(gib(200));
  for (const step of [400, 600, 800, 1000]) await grow(gib(step));
  await expect(grow(gib(1024))).rejects.toThrow("follows to 1099377410048 bytes, not to");
  expect(await zvolBytes()).toBe(gib(1000));
});

it("refuses it as well while nobody has it mounted, and for a copy", async () => {
  await service.volume("one", "staged", small);
  await service.call("VolumeService/UnstageVolume", at);
  await expect(grow(gib(1024))).rejects.toThrow("volume.capacity_bytes: its ext4 has blocks of 1024 bytes");
  expect(await zvolBytes()).toBe(before);
  const copy = { capacityBytes: gib(1024), source: { volume: name } };
  await expect(service.call("VolumeService/CreateVolume", { volumeId: "two", volume: copy })).rejects.toThrow("its ext4 has blocks of 1024 bytes");
});

it("stages a volume whose zvol is larger than its filesystem can be, and says what to do", async () => {
  await service.volume("one", "staged", small);
  await service.call("VolumeService/UnstageVolume", at);
  await service.call("VolumeService/DisconnectVolume", at);
  const dataset = (await run("give", "zfs", "list", "-Hp", "-o", "name", "-t", "volume")).trim();
  await run("give", "zfs", "set", `volsize=${gib(1024)}`, dataset);
  await service.call("VolumeService/ConnectVolume", at);
  await service.call("VolumeService/StageVolume", { ...at, stagingPath: "/mnt/one" });
  const { differences } = await service.call("VolumeService/SyncVolume", { name });
  expect(differences).toEqual(
    expect.arrayContaining([expect.objectContaining({ reason: "ZVOL_LARGER", explanation: expect.stringContaining("never exceeds 1099377410048 bytes") as string })]),
  );
});

it("refuses to make an ext4 larger than its options allow", async () => {
  const volume = { host: "hosts/give", capacityBytes: gib(1024), sparse: true, ...small };
  await expect(service.call("VolumeService/CreateVolume", { volumeId: "one", volume })).rejects.toThrow("volume.capacity_bytes: 1099511627776 is more than");
});
