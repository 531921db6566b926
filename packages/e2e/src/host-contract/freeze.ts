import { zvolPath, type CheckResult, type HostPath, type SnapshotName } from "@zfsilo/host";
import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { setTimeout as sleep } from "node:timers/promises";
import type { CurrentLab, Lab, Volume } from "./lab.ts";
import { refusal } from "./refusal.ts";

export function freezeContract(current: CurrentLab): void {
  describe("freeze", () => {
    it("keeps writers waiting until the thaw, which tells that nothing came between", async () => {
      const lab = current();
      const { freezer, o } = lab;
      const path = await mounted(lab, "frozen");
      await freezer.freeze(path, { limitSeconds: 30 }, o);
      lab.defer(async () => { await freezer.thaw(path, o); });
      let written = false;
      const writing = write(lab, path, "while frozen").then(() => { written = true; });
      await sleep(500);
      expect(written).toBe(false);
      expect(await freezer.thaw(path, o)).toBe(true);
      await writing;
      expect(await freezer.thaw(path, o)).toBe(false);
      await write(lab, path, "after");
    });

    it("makes a snapshot clean, where one of a running writer has its journal to recover", async () => {
      const lab = current();
      const { freezer, o } = lab;
      const { path, volume } = await mountedVolume(lab, "clean");
      await write(lab, path, "before");
      const running = await lab.snapshot(volume, "running");
      await freezer.freeze(path, { limitSeconds: 60 }, o);
      lab.defer(async () => { await freezer.thaw(path, o); });
      const frozen = await lab.snapshot(volume, "frozen");
      expect(await freezer.thaw(path, o)).toBe(true);
      const recovered = await checkClone(lab, running.name);
      expect(recovered.output).toMatch(/recovering journal/);
      const clean = await checkClone(lab, frozen.name);
      expect(clean).toMatchObject({ state: "clean" });
      expect(clean.output).not.toMatch(/recovering journal/);
    });

    it("ends by itself at the limit, and the thaw tells that it came too late", async () => {
      const lab = current();
      const { freezer, o } = lab;
      const path = await mounted(lab, "left");
      await freezer.freeze(path, { limitSeconds: 1 }, o);
      // Nobody thaws: the writer goes on all the same.
      await write(lab, path, "after the limit");
      expect(await freezer.thaw(path, o)).toBe(false);
    });

    it("counts the limit anew when it is frozen again", async () => {
      const lab = current();
      const { freezer, o } = lab;
      const path = await mounted(lab, "again");
      await freezer.freeze(path, { limitSeconds: 1 }, o);
      await freezer.freeze(path, { limitSeconds: 30 }, o);
      lab.defer(async () => { await freezer.thaw(path, o); });
      await sleep(2000);
      expect(await freezer.thaw(path, o)).toBe(true);
    });

    it("never freezes what lies around a path that is no mount", async () => {
      const lab = current();
      const { freezer, o } = lab;
      const path = lab.place("plain");
      await lab.byHand.initiator.files([{ op: "mkdir", path: lab.directory, tolerate: ["EEXIST"] }, { op: "mkdir", path }], o);
      expect(await refusal(freezer.freeze(path, { limitSeconds: 5 }, o))).toBe("precondition");
      expect(await refusal(freezer.freeze(path, { limitSeconds: 0 }, o))).toBe("invalid_argument");
      expect(await refusal(freezer.freeze(path, { limitSeconds: 61 }, o))).toBe("invalid_argument");
      expect(await freezer.thaw(path, o)).toBe(false);
      await write(lab, path, "not frozen");
      await lab.byHand.initiator.files([{ op: "unlink", path: `${path}/f` }], o);
    });
  });
}

async function write(lab: Lab, path: HostPath, content: string): Promise<void> {
  await lab.byHand.initiator.files([{ op: "write", path: `${path}/f`, content, create: { mode: 0o600 } }], lab.o);
}

async function mounted(lab: Lab, name: string): Promise<HostPath> {
  return (await mountedVolume(lab, name)).path;
}

async function mountedVolume(lab: Lab, name: string): Promise<{ path: HostPath; volume: Volume }> {
  const { device, volume } = await lab.connected();
  await lab.filesystems.make({ device: device.path, type: "ext4", uuid: randomUUID(), options: {} }, lab.o);
  const path = lab.place(name);
  await lab.mounts.mountDevice({ device: device.path, target: path, type: "ext4", options: [], readOnly: false }, lab.o);
  return { path, volume };
}

/** Checks a clone's filesystem on the target itself, where nothing has mounted it. */
async function checkClone(lab: Lab, snapshot: SnapshotName): Promise<CheckResult> {
  const { dataset } = await lab.clone(snapshot);
  await lab.zvols.awaitZvolDevice(dataset, lab.o);
  return await lab.targetFilesystems.check(zvolPath(dataset), "ext4", lab.o);
}
