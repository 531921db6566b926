import { RecordingExecutor, type FileOperation } from "@zfsilo/command";
import { LioTarget } from "@zfsilo/host";
import { describe, expect, it } from "vitest";
import type { CurrentLab, Lab, Volume } from "./lab.ts";

/** A crash can stop between any two operations of an export (I5): each such state must complete, and must come down. */
export function lioPartialContract(current: CurrentLab): void {
  describe("a partial export", () => {
    it("comes down, whichever operation was the last", async () => {
      const lab = current();
      const { lio, o } = lab;
      const volume = await lab.volume();
      lab.defer(() => lio.removeExport(volume.spec, o));
      const steps = await exportSteps(lab, volume);
      for (let made = 1; made <= steps.length; made += 1) {
        await lab.byHand.target.files(steps.slice(0, made), o);
        await lio.removeExport(volume.spec, o);
        expect(await lio.findExport(volume.spec, o), `after ${made} operations`).toBeUndefined();
      }
    });

    it("is completed, whichever operation was the last", async () => {
      const lab = current();
      const { lio, o } = lab;
      const volume = await lab.volume();
      lab.defer(() => lio.removeExport(volume.spec, o));
      const whole = await lio.ensureExport(volume.spec, o);
      await lio.removeExport(volume.spec, o);
      const steps = await exportSteps(lab, volume);
      for (let made = 1; made <= steps.length; made += 1) {
        await lab.byHand.target.files(steps.slice(0, made), o);
        expect(await lio.ensureExport(volume.spec, o), `after ${made} operations`).toEqual(whole);
        await lio.removeExport(volume.spec, o);
      }
    });

    it("comes down with an initiator that is only half admitted", async () => {
      const lab = current();
      const { lio, o } = lab;
      const { spec } = await lab.exported();
      const acl = `/sys/kernel/config/target/iscsi/${spec.target}/tpgt_1/acls/${lab.world.initiatorIqn}`;
      await lab.byHand.target.files([{ op: "mkdir", path: acl }, { op: "mkdir", path: `${acl}/lun_0` }], o);
      const found = { iqn: lab.world.initiatorIqn, session: "none" };
      expect((await lio.findExport(spec, o))?.initiators).toEqual([found]);
      expect((await lio.listExports(o))[0]?.initiators).toEqual([found]);
      await lio.removeInitiator(spec.target, lab.world.initiatorIqn, o);
      expect((await lio.findExport(spec, o))?.initiators).toEqual([]);
      await lab.byHand.target.files([{ op: "mkdir", path: acl }, { op: "mkdir", path: `${acl}/lun_0` }], o);
      await lio.removeExport(spec, o);
      expect(await lio.findExport(spec, o)).toBeUndefined();
    });
  });
}

/** The changes that a fresh export makes, as it made them. Leaves none. */
async function exportSteps(lab: Lab, volume: Volume): Promise<readonly FileOperation[]> {
  const recorder = new RecordingExecutor(lab.world.target);
  await new LioTarget(recorder).ensureExport(volume.spec, lab.o);
  await lab.lio.removeExport(volume.spec, lab.o);
  const changes = new Set(["mkdir", "symlink", "write"]);
  const steps = (recorder.calls[0]?.operations ?? []).filter(({ op }) => changes.has(op));
  expect(steps.length).toBeGreaterThan(12);
  return steps;
}
