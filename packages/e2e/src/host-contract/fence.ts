import type { NodeRecord } from "@zfsilo/host";
import { waitFor } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import type { CurrentLab, Lab } from "./lab.ts";
import { refusal } from "./refusal.ts";

/** Taking access away needs nothing of the initiator, and leaves it no way to write (I8). */
export function fenceContract(current: CurrentLab): void {
  describe("a fence under a live session", () => {
    it("ends the session, gives errors for its disk, and keeps the initiator out", async () => {
      const lab = current();
      const { iscsi, lio, o } = lab;
      const { volume, record, device } = await lab.connected();
      const { target } = volume.spec;
      const path = `/sys/kernel/config/target/iscsi/${target}/fabric_statistics/iscsi_instance/sessions`;
      const sessions = async () => (await lab.byHand.target.files([{ op: "read", path }], o))[0]?.text;
      expect(await sessions()).toBe("1\n");
      await lio.removeInitiator(target, lab.world.initiatorIqn, o);
      expect(await sessions()).toBe("0\n");
      expect(await lio.findExport(volume.spec, o)).toMatchObject({ initiators: [], enabled: true });
      await lio.removeInitiator(target, lab.world.initiatorIqn, o);
      expect(["FAILED", "FREE", "none"]).toContain(await sessionLoss(lab, record));
      const read = await lab.byHand.initiator.run(["cmp", "-n", "1048576", device.path, "/dev/zero"], o);
      expect(read.exitCode).toBe(2);
      await iscsi.logout(record, o);
      expect(await refusal(iscsi.login(record, o))).toBe("permission_denied");
      expect(await iscsi.listSessions(o)).toEqual([]);
    });

    it("lets no later write through, and the initiator in once it is admitted again", async () => {
      const lab = current();
      const { iscsi, lio, disks, o } = lab;
      const { volume, record, chap, device } = await lab.connected();
      const { initiator } = lab.byHand;
      const { target } = volume.spec;
      await initiator.files([{ op: "write", path: device.path, content: "before" }], o);
      await lab.command(initiator, "sync");
      await lio.removeInitiator(target, lab.world.initiatorIqn, o);
      // The page cache may take it; it must not reach the volume.
      await initiator.files([{ op: "write", path: device.path, content: "after!", tolerate: ["EIO", "ENXIO"] }], o);
      await iscsi.logout(record, o);
      await lio.ensureInitiator({ target, initiator: lab.world.initiatorIqn, chap }, o);
      expect((await iscsi.login(record, o)).state).toBe("LOGGED_IN");
      const again = await disks.awaitIscsiDevice(record, volume.handle, o);
      expect(again.sizeBytes).toBe(volume.zvol.sizeBytes);
      expect((await initiator.files([{ op: "read", path: again.path, maxBytes: 6 }], o))[0]?.text).toBe("before");
    });

    it("leaves a mount that can be cleared away once the dead session is abandoned", async () => {
      const lab = current();
      const { iscsi, lio, filesystems, mounts, o } = lab;
      const { volume, record, device } = await lab.connected();
      await filesystems.make({ device: device.path, type: "ext4", uuid: "0c000000-0000-4000-8000-0000000000dd", options: {} }, o);
      const target = lab.place("fenced");
      await mounts.mountDevice({ device: device.path, target, type: "ext4", options: [], readOnly: false }, o);
      const file = `${target}/before`;
      await lab.byHand.initiator.files([{ op: "write", path: file, content: "kept in memory", create: { mode: 0o600 } }], o);
      expect(await refusal(iscsi.abandonSession(record, o))).toBe("precondition");
      await lio.removeInitiator(volume.spec.target, lab.world.initiatorIqn, o);
      await sessionLoss(lab, record);
      expect(await refusal(iscsi.logout(record, o))).toBe("precondition");
      await iscsi.abandonSession(record, o);
      await iscsi.abandonSession(record, o);
      expect(await iscsi.listSessions(o)).toEqual([]);
      expect(await mounts.find(target, o)).toBeDefined();
      await mounts.unmount(target, o);
      expect(await mounts.find(target, o)).toBeUndefined();
    });

    it("is what taking the whole export down is, too", async () => {
      const lab = current();
      const { zfs, iscsi, lio, o } = lab;
      const { volume, record } = await lab.connected();
      await lio.removeExport(volume.spec, o);
      expect(await lio.findExport(volume.spec, o)).toBeUndefined();
      await zfs.destroyOwnedVolume(volume.dataset, volume.owner, o);
      await iscsi.logout(record, o);
      expect(await iscsi.listSessions(o)).toEqual([]);
    });
  });
}

/** What the session has become, once the initiator has noticed. */
async function sessionLoss(lab: Lab, record: NodeRecord): Promise<string> {
  return await waitFor(
    "the session to be lost",
    async () => {
      const session = await lab.iscsi.findSession(record, lab.o);
      return session?.state === "LOGGED_IN" ? undefined : (session?.state ?? "none");
    },
    lab.o.signal,
    { firstMs: 50, maxMs: 500, limitMs: 20_000 },
  );
}
