import { waitFor } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import type { CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";

/** Taking access away needs nothing of the initiator, and leaves it no way to write (I8). */
export function fenceContract(current: CurrentLab): void {
  describe("a fence under a live session", () => {
    it("ends the session, fails its writes, and keeps the initiator out", async () => {
      const lab = current();
      const { iscsi, lio, o } = lab;
      const { volume, record, device } = await lab.connected();
      const { target } = volume.spec;
      await lio.removeInitiator(target, lab.world.initiatorIqn, o);
      expect(await lio.findExport(volume.spec, o)).toMatchObject({ initiators: [], enabled: true });
      await lio.removeInitiator(target, lab.world.initiatorIqn, o);
      const state = await waitFor("the session to notice", async () => {
        const session = await iscsi.findSession(record, o);
        return session?.state === "LOGGED_IN" ? undefined : (session?.state ?? "none");
      }, o.signal, { firstMs: 50, maxMs: 500, limitMs: 20_000 });
      expect(["FAILED", "FREE", "none"]).toContain(state);
      // Through the page cache a write may be taken; what counts is that it cannot reach the disk.
      const write = lab.command(lab.world.initiator, "cmp", "-n", "1048576", device.path, "/dev/zero");
      await expect(write).rejects.toThrow();
      await iscsi.logout(record, o);
      expect(await refusal(iscsi.login(record, o))).toBe("permission_denied");
      expect(await iscsi.listSessions(o)).toEqual([]);
    });

    it("lets it in again once it is admitted again", async () => {
      const lab = current();
      const { iscsi, lio, disks, o } = lab;
      const { volume, record, chap } = await lab.connected();
      const { target } = volume.spec;
      await lio.removeInitiator(target, lab.world.initiatorIqn, o);
      await iscsi.logout(record, o);
      await lio.ensureInitiator({ target, initiator: lab.world.initiatorIqn, chap }, o);
      expect((await iscsi.login(record, o)).state).toBe("LOGGED_IN");
      expect((await disks.awaitIscsiDevice(record, volume.handle, o)).sizeBytes).toBe(volume.zvol.sizeBytes);
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
