import { copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

// A zvol that is there becomes a volume's: restored from a copy, an orphan, or made by others. Nothing on it is lost.

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
  // The machines are there once they were looked at.
  await service.call("VolumeService/SyncVolumes", {});
});
afterEach(() => service[Symbol.asyncDispose]());

const signal = new AbortController().signal;
const run = async (host: string, ...argv: [string, ...string[]]): Promise<string> => {
  const { exitCode, stdout, stderr } = await service.plane.world.executor(host).run(argv, { signal });
  if (exitCode !== 0) throw new Error(stderr);
  return stdout;
};
const zfs = (...argv: string[]): Promise<string> => run("give", "zfs", ...argv);
const guidOf = async (dataset: string): Promise<string> => (await zfs("get", "-Hp", "-o", "value", "guid", dataset)).trim();
const markOf = async (dataset: string, mark: string): Promise<string> => (await zfs("get", "-Hp", "-o", "value", `zfsilo:${mark}`, dataset)).trim();
const volumes = (method: string, id: string, more: object = {}): Promise<Json> => service.call(`VolumeService/${method}`, { name: `volumes/${id}`, ...more });
const adopt = async (id: string, dataset: string, more: object = {}): Promise<Json> =>
  service.call("VolumeService/AdoptVolume", { volumeId: id, host: "hosts/give", dataset, guid: await guidOf(dataset), ...more });
const conditionOf = (answer: Json): unknown => (answer["volume"] as { condition?: Json }).condition?.["reason"];
const sync = async (id: string): Promise<unknown> => conditionOf(await volumes("SyncVolume", id));

async function up(id: string): Promise<void> {
  await volumes("PublishVolume", id);
  await volumes("ConnectVolume", id, { host: "hosts/take" });
  await volumes("StageVolume", id, { host: "hosts/take", stagingPath: `/mnt/${id}` });
  await volumes("MountVolume", id, { host: "hosts/take", targetPath: `/srv/${id}` });
}

async function down(id: string): Promise<void> {
  await volumes("UnmountVolume", id, { host: "hosts/take", targetPath: `/srv/${id}` });
  await volumes("UnstageVolume", id, { host: "hosts/take" });
  await volumes("DisconnectVolume", id, { host: "hosts/take" });
  await volumes("UnpublishVolume", id);
}

const write = (path: string, content: string) => service.plane.world.executor("take").files([{ op: "write", path, content, create: { mode: 0o644 } }], { signal });
const read = async (path: string): Promise<string | undefined> => {
  const [found] = await service.plane.world.executor("take").files([{ op: "read", path }], { signal });
  return found !== undefined && "text" in found ? found.text : undefined;
};

/** A volume with data whose zvol was replaced by a copy of itself, as by send and receive. Answers its dataset. */
async function restored(id: string): Promise<string> {
  const dataset = `tank/zfsilo/${await service.volume(id, "mounted")}`;
  await write(`/srv/${id}/ledger`, "what was written");
  await down(id);
  await zfs("rename", dataset, "tank/aside");
  await zfs("snapshot", "tank/aside@copy");
  await service.plane.world.executor("give").pipe(["zfs", "send", "tank/aside@copy"], ["zfs", "receive", dataset], { signal });
  await zfs("destroy", "-r", "tank/aside");
  await zfs("destroy", `${dataset}@copy`);
  return dataset;
}

describe("a volume whose zvol was restored from a copy", () => {
  it("takes it, keeps its filesystem, and mounts again", async () => {
    const dataset = await restored("one");
    expect(await sync("one")).toBe("FOREIGN_ZVOL");
    await expect(volumes("PublishVolume", "one")).rejects.toThrow(/failed_precondition/);
    const { volume } = (await adopt("one", dataset)) as { volume: { dataset: string } };
    expect(volume.dataset).toBe(dataset);
    expect(await sync("one")).toBeUndefined();
    await up("one");
    expect(await sync("one")).toBeUndefined();
    expect(await read("/srv/one/ledger")).toBe("what was written");
    await down("one");
    expect((await adopt("one", dataset))["operation"] ?? "").toBe("");
    await volumes("DeleteVolume", "one");
  });

  it("takes it under another name as well", async () => {
    const dataset = await restored("one");
    await zfs("rename", dataset, "tank/zfsilo/one-restored");
    expect(await sync("one")).toBe("ZVOL_MISSING");
    await adopt("one", "tank/zfsilo/one-restored");
    expect(await sync("one")).toBeUndefined();
    await up("one");
  });

  it("takes no other while its own is there, and none while it is published", async () => {
    await service.volume("one", "published");
    await zfs("create", "-V", "128M", "tank/zfsilo/other");
    await expect(adopt("one", "tank/zfsilo/other")).rejects.toThrow(/it is published/);
    await volumes("UnpublishVolume", "one");
    await expect(adopt("one", "tank/zfsilo/other")).rejects.toThrow(/is there/);
  });
});

describe("an orphan", () => {
  it("becomes a volume again after a database was put back that does not know it", async () => {
    const [file, copy] = ["zfsilo.db", "copy.db"].map((name) => join(service.dataDir, name)) as [string, string];
    await service.restart(() => copyFile(file, copy));
    const dataset = `tank/zfsilo/${await service.volume("one", "mounted")}`;
    await down("one");
    await service.restart(async () => {
      await copyFile(copy, file);
      for (const end of ["-wal", "-shm"]) await rm(`${file}${end}`, { force: true });
    });
    const orphans = (await service.call("OrphanService/ListOrphans", {}))["orphans"] as { name: string; guid: string }[];
    expect(orphans.map(({ name }) => name)).toEqual([dataset]);
    await adopt("one", dataset);
    expect((await service.call("OrphanService/ListOrphans", {}))["orphans"] ?? []).toEqual([]);
    await up("one");
    expect(await sync("one")).toBeUndefined();
    await down("one");
    await volumes("DeleteVolume", "one");
  });
});

describe("a zvol of another driver", () => {
  const dataset = "tank/zfsilo/pvc-1";

  async function foreign(): Promise<void> {
    await zfs("create", "-o", "mountpoint=none", "-o", "canmount=off", "tank/zfsilo");
    await zfs("create", "-V", "64M", dataset);
    await run("give", "mkfs.ext4", "-q", "-U", "11111111-2222-4333-8444-555555555555", "-E", "nodiscard,lazy_itable_init=1", `/dev/zvol/${dataset}`);
  }

  it("is imported with its filesystem, which is never made anew", async () => {
    await foreign();
    const { volume } = (await adopt("imported", dataset, { volume: { displayName: "Imported", filesystem: { mountOptions: ["noatime"] } } })) as {
      volume: { capacityBytes: string; filesystem: Json };
    };
    expect(volume).toMatchObject({ capacityBytes: `${64 << 20}`, filesystem: { type: "ext4", mountOptions: ["noatime"] } });
    await up("imported");
    const probed = await run("take", "blkid", "-p", "-o", "export", "/dev/sda");
    expect(probed).toContain("UUID=11111111-2222-4333-8444-555555555555");
  });

  it("is refused with another guid, another owner, content that cannot be told, a user, or a place that is not looked at", async () => {
    await foreign();
    await expect(adopt("imported", dataset, { guid: "12345" })).rejects.toThrow(/its guid is/);
    await expect(adopt("imported", dataset, { volume: { filesystem: { mountOptions: ["bind"] } } })).rejects.toThrow(/volume\.filesystem\.mount_options/);
    await zfs("set", "zfsilo:volume=x", "zfsilo:cluster=elsewhere", dataset);
    await expect(adopt("imported", dataset)).rejects.toThrow(/belongs to volume x of cluster elsewhere/);
    await zfs("create", "-V", "64M", "tank/zfsilo/blank");
    await expect(adopt("blank", "tank/zfsilo/blank")).rejects.toThrow(/it holds nothing/);
    await zfs("create", "-V", "64M", "tank/outside");
    await expect(adopt("outside", "tank/outside")).rejects.toThrow(/not directly under tank\/zfsilo/);
    await adopt("imported", dataset, { replaceMarks: true });
    await expect(adopt("twice", dataset, { replaceMarks: true })).rejects.toThrow(/is the zvol of volumes\/imported/);
    expect(await markOf(dataset, "volume")).toBe("imported");
    await adopt("blank", "tank/zfsilo/blank", { volume: { mode: "VOLUME_MODE_BLOCK" } });
  });

  it("is refused while somebody else exports it, and nothing is changed", async () => {
    await foreign();
    for (const name of ["target_core_mod", "target_core_iblock"]) await run("give", "modprobe", name);
    const backstore = "/sys/kernel/config/target/core/iblock_7/mine";
    await service.plane.world.executor("give").files(
      [
        { op: "mkdir", path: "/sys/kernel/config/target/core/iblock_7" },
        { op: "mkdir", path: backstore },
        { op: "write", path: `${backstore}/control`, content: `udev_path=/dev/zvol/${dataset}` },
        { op: "write", path: `${backstore}/udev_path`, content: `/dev/zvol/${dataset}` },
        { op: "write", path: `${backstore}/enable`, content: "1" },
      ],
      { signal },
    );
    await expect(adopt("imported", dataset)).rejects.toThrow(/held by the target's backstore iblock_7\/mine/);
    expect(await markOf(dataset, "volume")).toBe("-");
  });

  it("is refused while it is mounted on its host", async () => {
    await foreign();
    await service.plane.world.executor("give").files([{ op: "mkdir", path: "/mnt/mine" }], { signal });
    await run("give", "mount", "-t", "ext4", `/dev/zvol/${dataset}`, "/mnt/mine");
    await expect(adopt("imported", dataset)).rejects.toThrow(/held by a mount at \/mnt\/mine/);
  });
});
