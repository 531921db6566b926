import type { FileOperation } from "@zfsilo/command";
import { afterEach, beforeEach, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
});
afterEach(() => service[Symbol.asyncDispose]());

async function check(host: string): Promise<{ readonly ready: boolean; readonly checks: Readonly<Record<string, Json>> }> {
  const { ready, checks } = await service.call("HostService/CheckHost", { name: `hosts/${host}` });
  return { ready: ready === true, checks: Object.fromEntries((checks as Json[]).map((one) => [String(one["name"]), one])) };
}

async function onHost(host: string, ...operations: FileOperation[]): Promise<void> {
  await (await service.plane.executor(host)).files(operations, { signal: new AbortController().signal });
}

const ok = { state: "CHECK_STATE_OK" };
const write = (path: string, content: string): FileOperation => ({ op: "write", path, content, create: { mode: 0o600 } });
const mkdir = (path: string): FileOperation => ({ op: "mkdir", path, tolerate: ["EEXIST"] });

it("finds nothing wrong with hosts that are new, and shows what they run", async () => {
  const give = await check("give");
  expect(give.ready).toBe(true);
  const { clock, kernel, ...others } = give.checks;
  expect(clock).toMatchObject(ok);
  expect(kernel).toMatchObject({ ...ok, observed: "6.1.0-44-amd64" });
  for (const name of ["tool.zfs", "dataset.tank/zfsilo", "portal.192.0.2.1:3260", "lvm.zvols", "udev.zvols", "lio.saved", "machine.identity"]) {
    expect(others[name], name).toMatchObject(ok);
  }
  const take = await check("take");
  for (const name of ["tool.iscsiadm", "tool.mkfs.ext4", "tool.mkfs.xfs", "lvm.disks", "multipath"]) expect(take.checks[name], name).toMatchObject(ok);
});

it("names who has the port, and publishing says the same until that is gone", async () => {
  await service.volume("vol_a", "initial");
  const foreign = "/sys/kernel/config/target/iscsi/iqn.2003-01.org.example:port";
  const directories = [foreign, `${foreign}/tpgt_1`, `${foreign}/tpgt_1/np/0.0.0.0:3260`];
  await (await service.plane.executor("give")).run(["modprobe", "target_core_mod"], { signal: new AbortController().signal });
  await onHost("give", mkdir("/sys/kernel/config/target/iscsi"), ...directories.map(mkdir));
  const who = "target iqn.2003-01.org.example:port serves 0.0.0.0:3260";
  const seen = await check("give");
  expect(seen.ready).toBe(false);
  expect(seen.checks["portal.192.0.2.1:3260"]).toMatchObject({ state: "CHECK_STATE_FAILED", observed: who });
  const publish = () => service.call("VolumeService/PublishVolume", { name: "volumes/vol_a" });
  await expect(publish()).rejects.toThrow(new RegExp(`^failed_precondition: .*listen at 192.0.2.1:3260: ${who}`));
  await onHost("give", ...directories.toReversed().map((path): FileOperation => ({ op: "rmdir", path })));
  await publish();
});

it("tells of two hosts that are one machine, and of what a boot would bring back", async () => {
  const id = "0123456789abcdef0123456789abcdef\n";
  await onHost("take", write("/etc/machine-id", id));
  await onHost("other", write("/etc/machine-id", id));
  expect((await check("take")).checks["machine.identity"]).toMatchObject({ state: "CHECK_STATE_WARNING", observed: "hosts/other has the same /etc/machine-id" });
  service.plane.world.setOnline("other", false);
  expect((await check("take")).checks["machine.identity"]).toMatchObject(ok);

  const saved = JSON.stringify({ targets: [{ wwn: "iqn.2026-01.io.zfsilo:0123456789abcdef" }] });
  await onHost("give", mkdir("/etc/rtslib-fb-target"), write("/etc/rtslib-fb-target/saveconfig.json", saved));
  expect((await check("give")).checks["lio.saved"]).toMatchObject({ state: "CHECK_STATE_WARNING" });
  await onHost("give", mkdir("/etc/systemd"), mkdir("/etc/systemd/system"), mkdir("/etc/systemd/system/multi-user.target.wants"), {
    op: "symlink",
    path: "/etc/systemd/system/multi-user.target.wants/target.service",
    target: "/lib/systemd/system/target.service",
  });
  const restoring = await check("give");
  expect(restoring.ready).toBe(false);
  expect(restoring.checks["lio.saved"]).toMatchObject({ state: "CHECK_STATE_FAILED", remedy: expect.stringContaining("systemctl disable target.service") as string });
});
