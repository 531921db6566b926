import { Code } from "@connectrpc/connect";
import { VolumeMode, VolumeStatus } from "@zfsilo/api";
import { describe, expect, it } from "vitest";
import { output } from "../../src/api/real-hosts.ts";
import { give, mib, take, useRealWorld } from "../../src/api/real-world.ts";

const world = useRealWorld("api-life");
const { create, connect, takeDown } = world;

const sha = async (path: string) => (await output(world.machines.take, "sha256sum", path)).split(" ")[0];

describe.each(["ext4", "xfs"])("(a) an %s volume", (type) => {
  it("is made, written, grown under a writer, taken to pieces, put together again with the same bytes, and deleted", async () => {
    const { machines, system } = world;
    const name = await create(`fs-${type}`, VolumeMode.FILESYSTEM, { capacityBytes: 512n * mib, fsType: type });
    await connect(name);
    await system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
    await system.volumes.mountVolume({ name, host: take, targetPath: "/mnt/target" });

    await output(machines.take, "dd", "if=/dev/urandom", "of=/mnt/target/data", "bs=1M", "count=64", "conv=fsync", "status=none");
    const written = await sha("/mnt/target/data");

    const writer = output(machines.take, "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=/mnt/target/w$i bs=1M count=4 conv=fsync status=none || exit 1; done");
    const grown = await system.volumes.updateVolume({
      volume: { name, capacityBytes: 1024n * mib },
      updateMask: { paths: ["capacity_bytes"] },
    });
    await writer;
    expect(grown.volume?.capacityBytes).toBe(1024n * mib);
    const { filesystems, zvol } = await system.volumes.statsVolume({ name });
    expect(zvol?.capacityBytes).toBe(1024n * mib);
    expect(filesystems[0]?.totalBytes).toBeGreaterThan(900n * mib);

    await system.volumes.unmountVolume({ name, host: take, targetPath: "/mnt/target" });
    await system.volumes.unstageVolume({ name, host: take });
    await system.volumes.disconnectVolume({ name, host: take });
    await connect(name);
    const staged = await system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
    expect(staged.volume?.status).toBe(VolumeStatus.STAGED);
    expect(await sha("/mnt/stage/data")).toBe(written);
    expect((await system.volumes.syncVolume({ name })).differences).toEqual([]);

    await system.volumes.unstageVolume({ name, host: take });
    await takeDown(name);
  });
});

it("(b) a raw block volume keeps its bytes across growth and reconnection", async () => {
  const { machines, system } = world;
  const name = await create("raw", VolumeMode.BLOCK);
  await connect(name);
  await system.volumes.stageVolume({ name, host: take, stagingPath: "/mnt/stage" });
  await system.volumes.mountVolume({ name, host: take, targetPath: "/mnt/disk" });
  expect(await output(machines.take, "stat", "-c", "%F", "/mnt/disk")).toBe("block special file");
  await output(machines.take, "dd", "if=/dev/urandom", "of=/mnt/disk", "bs=1M", "count=64", "conv=notrunc,fsync", "status=none");
  const head = async (path: string) => output(machines.take, "sh", "-c", `head -c 67108864 ${path} | sha256sum`);
  const written = await head("/mnt/disk");
  await system.volumes.updateVolume({ volume: { name, capacityBytes: 384n * mib }, updateMask: { paths: ["capacity_bytes"] } });
  expect(await output(machines.take, "blockdev", "--getsize64", "/mnt/disk")).toBe(String(384n * mib));

  await system.volumes.unmountVolume({ name, host: take, targetPath: "/mnt/disk" });
  await system.volumes.unstageVolume({ name, host: take });
  await system.volumes.disconnectVolume({ name, host: take });
  const device = await connect(name);
  expect(await head(device)).toBe(written);
  await takeDown(name);
});

it("(c) what does not fit is refused, and nothing of it stays", async () => {
  const { system } = world;
  const tooLarge = 1n << 40n;
  await expect(create("huge", VolumeMode.BLOCK, { capacityBytes: tooLarge })).rejects.toMatchObject({ code: Code.ResourceExhausted });
  const name = await create("grows", VolumeMode.BLOCK);
  const grow = system.volumes.updateVolume({ volume: { name, capacityBytes: tooLarge }, updateMask: { paths: ["capacity_bytes"] } });
  await expect(grow).rejects.toMatchObject({ code: Code.ResourceExhausted });
  expect((await system.volumes.getVolume({ name })).volume?.capacityBytes).toBe(256n * mib);
  await system.volumes.deleteVolume({ name });
});

it("(d) a wrong CHAP secret is refused by the target, and a connect puts the right one back", async () => {
  const { machines, system } = world;
  const name = await create("chap", VolumeMode.BLOCK);
  await connect(name);
  const { volume } = await system.volumes.getVolume({ name });
  const target = volume!.export!.targetName;
  await output(machines.take, "iscsiadm", "-m", "node", "-T", target, "--logout");
  await output(machines.take, "sh", "-c", `sed -i 's/^node.session.auth.password = .*/node.session.auth.password = wrongwrongwrong1/' /etc/iscsi/nodes/${target}/*/default`);
  const { code, stderr } = await machines.take.exec(["iscsiadm", "-m", "node", "-T", target, "--login"]);
  expect({ code, refused: stderr.includes("authorization failure") }).toEqual({ code: 24, refused: true });

  const seen = await system.volumes.syncVolume({ name, reportOnly: true });
  expect(seen.differences).toMatchObject([{ host: take, reason: "SESSION_MISSING" }]);
  await system.volumes.connectVolume({ name, host: take });
  expect((await system.volumes.syncVolume({ name })).differences).toEqual([]);
  await takeDown(name);
});

it("(e) two volumes on one initiator, and one raw volume on two initiators", async () => {
  const { machines, system } = world;
  const [one, two] = await Promise.all([create("one", VolumeMode.FILESYSTEM), create("two", VolumeMode.BLOCK)]);
  const devices = await Promise.all([connect(one), connect(two)]);
  expect(new Set(devices).size).toBe(2);
  await system.volumes.connectVolume({ name: two, host: give });
  await output(machines.take, "sh", "-c", `printf shared-bytes | dd of=${devices[1]} bs=512 count=1 conv=sync,fsync status=none`);
  const { volume } = await system.volumes.getVolume({ name: two });
  const there = volume!.attachments.find(({ host }) => host === give)!.device;
  expect(await output(machines.give, "sh", "-c", `head -c 12 ${there}`)).toBe("shared-bytes");
  await expect(system.volumes.connectVolume({ name: one, host: give })).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await takeDown(one);
  await takeDown(two, [take, give]);
});

it("(f) sixteen creates at once: every volume, and every device link", async () => {
  const { machines, system } = world;
  const ids = Array.from({ length: 16 }, (_, index) => `many-${index}`);
  const names = await Promise.all(ids.map((id) => create(id, VolumeMode.BLOCK, { capacityBytes: 16n * mib })));
  const links = (await output(machines.give, "ls", "/dev/zvol/tank/zfsilo")).split("\n");
  const handles = await Promise.all(names.map(async (name) => (await system.volumes.getVolume({ name })).volume!.handle));
  expect(links).toEqual(expect.arrayContaining(handles));
  await Promise.all(names.map((name) => system.volumes.deleteVolume({ name })));
});
