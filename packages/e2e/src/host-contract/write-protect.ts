import type { FsType } from "@zfsilo/host";
import { waitFor } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { mib, type Connected, type CurrentLab, type Lab } from "./lab.ts";
import { refusal } from "./refusal.ts";

const uuid = "0c000000-0000-4000-8000-0000000000ee";
const kinds: readonly (readonly [FsType, number, string])[] = [
  ["ext4", 64, "noload"],
  ["xfs", 320, "norecovery"],
];

/** An initiator that may only read: its kernel knows, and the target refuses what it sends all the same. */
export function writeProtectContract(current: CurrentLab): void {
  describe("a reader of an export", () => {
    it("has a disk that is read-only, and one that may write has not", async () => {
      const lab = current();
      const connected = await lab.connected();
      expect(connected.device.readOnly).toBe(false);
      await lab.byHand.initiator.files([{ op: "write", path: connected.device.path, content: "data" }], lab.o);
      await lab.command(lab.byHand.initiator, "sync");
      await lab.disconnect(connected.record);
      const { path, readOnly } = await asReader(lab, connected);
      expect(readOnly).toBe(true);
      const reader = { mappedLun: 0, writeProtected: true, session: "active" };
      expect((await lab.lio.findExport(connected.volume.spec, lab.o))?.initiators).toMatchObject([reader]);
      expect((await lab.lio.listExports(lab.o))[0]?.initiators).toMatchObject([reader]);
      const [write] = await lab.byHand.initiator.files([{ op: "write", path, content: "other", tolerate: ["EROFS"] }], lab.o);
      expect(write?.errno).toBe("EROFS");
      expect((await lab.byHand.initiator.files([{ op: "read", path, maxBytes: 4 }], lab.o))[0]?.text).toBe("data");
    });

    it("is kept from writing by the target, whatever its kernel believes", async () => {
      const lab = current();
      const { volume, chap, device } = await lab.connected();
      const { initiator, target } = lab.byHand;
      await initiator.files([{ op: "write", path: device.path, content: "before" }], lab.o);
      await lab.command(initiator, "sync");
      await lab.lio.ensureInitiator({ target: volume.spec.target, initiator: lab.world.initiatorIqn, chap, readOnly: true }, lab.o);
      // The page cache may take it; it must not reach the volume.
      await initiator.files([{ op: "write", path: device.path, content: "after!", tolerate: ["EIO"] }], lab.o);
      await initiator.run(["sync"], lab.o);
      const { path } = await lab.zvols.awaitZvolDevice(volume.dataset, lab.o);
      expect((await target.files([{ op: "read", path, maxBytes: 6 }], lab.o))[0]?.text).toBe("before");
    });

    it.each(kinds)("mounts a clean %s, and never for writing", async (type, size) => {
      const lab = current();
      const { filesystems, mounts, o } = lab;
      const connected = await lab.connected({ sizeBytes: mib(size) });
      await filesystems.make({ device: connected.device.path, type, uuid, options: {} }, o);
      await lab.disconnect(connected.record);
      const { path: device } = await asReader(lab, connected);
      expect(await filesystems.probe(device, o)).toEqual({ kind: "filesystem", type, uuid });
      expect((await filesystems.check(device, type, { ...o, readOnly: true })).state).toBe("clean");
      const target = lab.place(`reader-${type}`);
      // mount(8) mounts it read-only then and exits 0: what is read back is not what was asked for.
      expect(await refusal(mounts.mountDevice({ device, target, type, options: [], readOnly: false }, o))).toBe("internal");
      await mounts.mountDevice({ device, target, type, options: [], readOnly: true }, o);
      const path = `${target}/file`;
      const [write] = await lab.byHand.initiator.files([{ op: "write", path, content: "x", create: { mode: 0o600 }, tolerate: ["EROFS"] }], o);
      expect(write?.errno).toBe("EROFS");
    });

    it.each(kinds)("cannot mount an %s with a journal to replay but without it", async (type, size, withoutJournal) => {
      const lab = current();
      const { filesystems, mounts, iscsi, lio, o } = lab;
      const connected = await lab.connected({ sizeBytes: mib(size) });
      const { volume, record } = connected;
      await filesystems.make({ device: connected.device.path, type, uuid, options: {} }, o);
      const target = lab.place(`unclean-${type}`);
      await mounts.mountDevice({ device: connected.device.path, target, type, options: [], readOnly: false }, o);
      await lab.byHand.initiator.files([{ op: "write", path: `${target}/file`, content: "data", create: { mode: 0o600 } }], o);
      await lab.command(lab.byHand.initiator, "sync");
      await lio.removeInitiator(volume.spec.target, lab.world.initiatorIqn, o);
      await sessionLoss(lab, connected);
      await iscsi.abandonSession(record, o);
      await mounts.unmount(target, o);
      const { path: device } = await asReader(lab, connected);
      expect((await filesystems.check(device, type, { ...o, readOnly: true })).state).toBe("needs_mount");
      expect(await refusal(mounts.mountDevice({ device, target, type, options: [], readOnly: true }, o))).toBe("precondition");
      await mounts.mountDevice({ device, target, type, options: [withoutJournal], readOnly: true }, o);
    });
  });
}

/** Lets the initiator in again, to read alone. */
async function asReader(lab: Lab, { volume, chap, record }: Connected): Promise<Connected["device"]> {
  const { target } = volume.spec;
  await lab.lio.ensureInitiator({ target, initiator: lab.world.initiatorIqn, chap, readOnly: true }, lab.o);
  await lab.iscsi.writeNodeRecord(record, lab.o);
  await lab.iscsi.login(record, lab.o);
  return await lab.disks.awaitIscsiDevice(record, volume.handle, lab.o);
}

async function sessionLoss(lab: Lab, { record }: Connected): Promise<void> {
  await waitFor(
    "the session to be lost",
    async () => ((await lab.iscsi.findSession(record, lab.o))?.state === "LOGGED_IN" ? undefined : true),
    lab.o.signal,
    { firstMs: 50, maxMs: 500, limitMs: 20_000 },
  );
}
