import { VolumeMode } from "@zfsilo/api";
import { expect, it } from "vitest";
import { output } from "../../src/api/real-hosts.ts";
import { give, mib, take, useRealWorld } from "../../src/api/real-world.ts";

const world = useRealWorld("encryption");
const key = new Uint8Array(32).fill(0x5a);
const keyFile = "/etc/zfsilo/keys/e2e";

/** As after a power cut of the machine: ssh answers again, and ZFS has imported its pool. */
async function reboot(): Promise<void> {
  const { machines, system } = world;
  await machines.give.reset();
  await expect.poll(async () => (await system.hosts.checkHost({ name: give }).catch(() => undefined))?.checks.length ?? 0, { timeout: 240_000, interval: 2_000 }).toBeGreaterThan(0);
  await expect.poll(async () => (await machines.give.exec(["zpool", "list", "tank"])).code, { timeout: 120_000, interval: 2_000 }).toBe(0);
}

const create = async (id: string, file: string): Promise<string> => {
  const encryption = file === "" ? {} : { keyFile: file };
  const { volume } = await world.system.volumes.createVolume({
    volumeId: id,
    volume: { host: give, capacityBytes: 64n * mib, mode: VolumeMode.BLOCK, encryption },
    ...(file === "" && { encryptionKey: key }),
  });
  expect(volume?.encryption).toMatchObject({ algorithm: "aes-256-gcm", unlocked: true });
  return volume?.name ?? "";
};

it("after a reboot of the target a volume is locked until it gets its key, and one with a key file is not; their data is there", async () => {
  const { machines, system } = world;
  const { volumes } = system;
  await output(machines.give, "sh", "-ec", `mkdir -p /etc/zfsilo/keys; chmod 700 /etc/zfsilo/keys; head -c 32 /dev/urandom > ${keyFile}; sync`);
  const [secret, filed] = [await create("secret", ""), await create("filed", keyFile)];
  const sums = new Map<string, string>();
  for (const name of [secret, filed]) {
    const device = await world.connect(name);
    await output(machines.take, "sh", "-ec", `head -c 1048576 /dev/urandom > /tmp/data; dd if=/tmp/data of=${device} bs=1M oflag=direct conv=fsync status=none`);
    sums.set(name, await output(machines.take, "sh", "-ec", "sha256sum < /tmp/data; rm /tmp/data"));
    await volumes.disconnectVolume({ name, host: take });
  }

  await reboot();
  await volumes.syncVolumes({});
  expect((await volumes.getVolume({ name: secret })).volume).toMatchObject({ condition: { reason: "VOLUME_LOCKED" }, encryption: { unlocked: false } });
  const opened = (await volumes.getVolume({ name: filed })).volume;
  expect(opened).toMatchObject({ encryption: { unlocked: true } });
  expect(opened?.condition).toBeUndefined();
  await expect(volumes.publishVolume({ name: secret })).rejects.toThrow("VOLUME_LOCKED");

  await expect(volumes.loadKey({ name: secret, encryptionKey: new Uint8Array(32) })).rejects.toThrow("invalid_argument");
  await volumes.loadKey({ name: secret, encryptionKey: key });
  expect((await volumes.getVolume({ name: secret })).volume?.condition).toBeUndefined();
  for (const name of [secret, filed]) {
    const device = await world.connect(name);
    expect(await output(machines.take, "sh", "-ec", `head -c 1048576 ${device} | sha256sum`)).toBe(sums.get(name));
    await world.takeDown(name);
  }
  await output(machines.give, "rm", "-r", "/etc/zfsilo");
});

it("the key is in no argument and no log of the host", async () => {
  const { volumes, operations } = world.system;
  const name = await create("quiet", "");
  await volumes.unloadKey({ name });
  const { operation } = await volumes.loadKey({ name, encryptionKey: key });
  const shown = JSON.stringify((await operations.getOperation({ name: operation })).operation, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
  const hex = Buffer.from(key).toString("hex");
  expect(shown).toContain("zfs load-key");
  expect(shown).not.toContain(hex);
  expect(await output(world.machines.give, "sh", "-c", `zpool history -i tank | grep -c ${hex.slice(0, 32)} || true`)).toBe("0");
  await volumes.deleteVolume({ name });
});
