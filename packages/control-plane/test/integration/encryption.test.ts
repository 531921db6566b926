import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

const key = Buffer.alloc(32, 0x5a);
const other = Buffer.alloc(32, 0xa5);
const base64 = (bytes: Buffer): string => bytes.toString("base64");
const keyFile = "/etc/zfsilo/keys/gold";
const name = "volumes/vol_a";

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
  await service.call("PoolService/ListPools", {});
  const { signal } = new AbortController();
  const directories = ["/etc/zfsilo", "/etc/zfsilo/keys"].map((path) => ({ op: "mkdir", path, tolerate: ["EEXIST"] }) as const);
  const file = (path: string, content: string) => ({ op: "write", path, content, create: { mode: 0o600 }, secret: true }) as const;
  await service.plane.world.executor("give").files([...directories, file(keyFile, "k".repeat(32)), file(`${keyFile}.short`, "k")], { signal });
});
afterEach(() => service[Symbol.asyncDispose]());

const made = async (fields: object = {}, request: object = { encryptionKey: base64(key) }): Promise<Json> =>
  service.call("VolumeService/CreateVolume", {
    volumeId: "vol_a",
    volume: { host: "hosts/give", capacityBytes: `${64 << 20}`, sparse: true, encryption: {}, ...fields },
    ...request,
  });
const fromFile = (file = keyFile): Promise<Json> => made({ encryption: { keyFile: file } }, {});
const call = (method: string, message: object = {}): Promise<Json> => service.call(`VolumeService/${method}`, { name, ...message });
const volume = async (): Promise<Json> => (await call("GetVolume"))["volume"] as Json;
const unlocked = async (): Promise<unknown> => ((await volume())["encryption"] as Json)["unlocked"];

describe("an encrypted volume whose key calls give", () => {
  it("is made, used, locked and opened", async () => {
    await made();
    expect(await volume()).toMatchObject({ encryption: { algorithm: "aes-256-gcm", unlocked: true } });
    await call("PublishVolume");
    await expect(call("UnloadKey")).rejects.toThrow("it is published");
    await call("UnpublishVolume");
    const locked = (await call("UnloadKey"))["volume"] as Json;
    expect(locked).toMatchObject({ condition: { reason: "VOLUME_LOCKED" } });
    expect(await unlocked()).toBeUndefined();
    expect((await call("UnloadKey"))["operation"]).toBeUndefined();
    await expect(call("PublishVolume")).rejects.toThrow("failed_precondition");
    await expect(service.call("VolumeService/UpdateVolume", { volume: { name, capacityBytes: `${128 << 20}` }, updateMask: "capacityBytes" })).rejects.toThrow(
      "its encryption key is not loaded",
    );
    await call("LoadKey", { encryptionKey: base64(key) });
    expect(await unlocked()).toBe(true);
    expect((await volume())["condition"]).toBeUndefined();
    await call("PublishVolume");
  });

  it("answers the same call with the same volume, and no other key", async () => {
    const first = await made();
    expect((await made())["volume"]).toEqual(first["volume"]);
    await expect(made({}, { encryptionKey: base64(other) })).rejects.toThrow("already_exists");
    await expect(call("LoadKey", { encryptionKey: base64(other) })).rejects.toThrow("invalid_argument");
    expect((await call("LoadKey", { encryptionKey: base64(key) }))["operation"]).toBeUndefined();
    await call("UnloadKey");
    await expect(call("LoadKey", { encryptionKey: base64(other) })).rejects.toThrow("invalid_argument");
    expect(await unlocked()).toBeUndefined();
  });

  it("is locked after a reboot of its target, and back with its export when it gets its key", async () => {
    await service.volume("vol_b", "published");
    await made();
    await call("PublishVolume");
    service.plane.world.powerCycle("give");
    const { left } = await service.call("VolumeService/SyncVolumes", {});
    expect(Number(left)).toBeGreaterThan(0);
    expect(await volume()).toMatchObject({ condition: { reason: "VOLUME_LOCKED" } });
    await expect(call("PublishVolume")).rejects.toThrow("VOLUME_LOCKED");
    await call("LoadKey", { encryptionKey: base64(key) });
    expect((await volume())["condition"]).toBeUndefined();
    expect(await service.call("VolumeService/SyncVolumes", {})).toEqual({ checked: "2" });
  });

  it("leaves its key in no file of the control plane, and in no answer", async () => {
    const { operation } = await made();
    await call("UnloadKey");
    const loaded = await call("LoadKey", { encryptionKey: base64(key) });
    const shown = JSON.stringify([
      await service.call("OperationService/GetOperation", { name: operation }),
      await service.call("OperationService/GetOperation", { name: loaded["operation"] }),
      service.plane.world.calls("give").latest,
    ]);
    await service.restart();
    const files = await readdir(service.dataDir);
    const contents = await Promise.all(files.map((file) => readFile(join(service.dataDir, file))));
    for (const form of [key.toString("latin1"), key.toString("hex"), base64(key)]) {
      expect(shown).not.toContain(form);
      for (const [index, content] of contents.entries()) expect(content.includes(form, 0, "latin1"), files[index]).toBe(false);
    }
  });
});

describe("a clone of an encrypted volume", () => {
  const clone = (id: string, source: object = { volume: name }): Promise<Json> =>
    service.call("VolumeService/CreateVolume", { volumeId: id, volume: { source } });
  const named = (id: string): Promise<Json> => service.call("VolumeService/GetVolume", { name: `volumes/${id}` });

  it("shares its key, and is locked and opened with it", async () => {
    await made();
    await clone("vol_c");
    expect((await named("vol_c"))["volume"]).toMatchObject({ encryption: { algorithm: "aes-256-gcm", unlocked: true } });
    await expect(service.call("VolumeService/UnloadKey", { name: "volumes/vol_c" })).rejects.toThrow("whose clone it is");
    await service.call("VolumeService/PublishVolume", { name: "volumes/vol_c" });
    await expect(call("UnloadKey")).rejects.toThrow("busy");
    await service.call("VolumeService/UnpublishVolume", { name: "volumes/vol_c" });
    await call("UnloadKey");
    await service.call("VolumeService/SyncVolumes", {});
    expect((await named("vol_c"))["volume"]).toMatchObject({ condition: { reason: "VOLUME_LOCKED" } });
    await expect(clone("vol_d")).rejects.toThrow("its encryption key is not loaded");
    await service.call("VolumeService/LoadKey", { name: "volumes/vol_c", encryptionKey: base64(key) });
    await service.call("VolumeService/SyncVolumes", {});
    expect(await unlocked()).toBe(true);
    await service.call("VolumeService/PublishVolume", { name: "volumes/vol_c" });
  });
});

describe("an encrypted volume with a key file", () => {
  it("is opened by the reconciler after a reboot of its target", async () => {
    await fromFile();
    await call("PublishVolume");
    service.plane.world.powerCycle("give");
    const { repaired } = await service.call("VolumeService/SyncVolumes", {});
    expect(Number(repaired)).toBeGreaterThan(0);
    expect((await volume())["condition"]).toBeUndefined();
    expect(await service.call("VolumeService/SyncVolumes", {})).toEqual({ checked: "1" });
  });

  it("is opened when it is published, and by LoadKey without a key", async () => {
    await fromFile();
    await call("UnloadKey");
    await service.call("VolumeService/SyncVolumes", {});
    // Nobody asked for it: it stays locked.
    expect(await unlocked()).toBeUndefined();
    await expect(call("LoadKey", { encryptionKey: base64(key) })).rejects.toThrow("encryption_key: is not wanted");
    await call("LoadKey");
    expect(await unlocked()).toBe(true);
    await call("UnloadKey");
    await call("PublishVolume");
    await service.call("VolumeService/SyncVolumes", {});
    expect(await unlocked()).toBe(true);
  });
});

describe("encryption refuses", () => {
  it.each([
    ["a key of 31 bytes", {}, { encryptionKey: base64(key.subarray(1)) }, "invalid_argument: encryption_key: has 31 bytes"],
    ["a key of 33 bytes", {}, { encryptionKey: base64(Buffer.alloc(33)) }, "invalid_argument: encryption_key: has 33 bytes"],
    ["no key", {}, {}, "invalid_argument: encryption_key"],
    ["a key for nothing", { encryption: undefined }, { encryptionKey: base64(key) }, "invalid_argument: encryption_key"],
    ["two keys", { encryption: { keyFile } }, { encryptionKey: base64(key) }, "invalid_argument: encryption_key"],
    ["an unknown algorithm", { encryption: { algorithm: "rot13" } }, { encryptionKey: base64(key) }, "invalid_argument: volume.encryption.algorithm"],
    ["what only the server says", { encryption: { unlocked: true } }, { encryptionKey: base64(key) }, "invalid_argument: volume.encryption.unlocked"],
    ["a key file elsewhere", { encryption: { keyFile: "/etc/shadow" } }, {}, "invalid_argument: volume.encryption.key_file"],
    ["a way out of the key files", { encryption: { keyFile: "/etc/zfsilo/keys/../../shadow" } }, {}, "invalid_argument: volume.encryption.key_file"],
    ["a key file that is not there", { encryption: { keyFile: `${keyFile}.none` } }, {}, /^failed_precondition: .*volume\.encryption\.key_file/],
    ["a key file with less than a key", { encryption: { keyFile: `${keyFile}.short` } }, {}, /^invalid_argument: .*volume\.encryption\.key_file/],
    ["encryption among the options", { zfsOptions: { encryption: "on" } }, { encryptionKey: base64(key) }, 'invalid_argument: volume.zfs_options["encryption"]'],
  ])("%s", async (_what, fields, request, why) => {
    await expect(made(fields, request)).rejects.toThrow(why);
    expect((await service.call("VolumeService/ListVolumes", {}))["volumes"]).toBeUndefined();
  });

  it("keys for a volume that is not encrypted", async () => {
    await service.volume("vol_a", "initial");
    await expect(call("LoadKey", { encryptionKey: base64(key) })).rejects.toThrow("it is not encrypted");
    await expect(call("UnloadKey")).rejects.toThrow("it is not encrypted");
    await expect(call("LoadKey", { encryptionKey: base64(other.subarray(1)) })).rejects.toThrow("encryption_key");
  });
});
