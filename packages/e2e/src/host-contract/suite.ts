import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import { blockDeviceContract } from "./block-device.ts";
import { cloneContract } from "./clones.ts";
import { configfsContract } from "./configfs.ts";
import { copyContract } from "./copies.ts";
import { executorFileContract } from "./executor.ts";
import { filesystemContract } from "./filesystem.ts";
import { freezeContract } from "./freeze.ts";
import { iscsiContract } from "./iscsi.ts";
import { fenceContract } from "./fence.ts";
import { keyContract } from "./keys.ts";
import { Lab } from "./lab.ts";
import { leftOver } from "./left-over.ts";
import { lioContract } from "./lio.ts";
import { lioPartialContract } from "./lio-partial.ts";
import { mountContract } from "./mount.ts";
import { poolContract } from "./pools.ts";
import { rangeContract } from "./ranges.ts";
import { snapshotContract } from "./snapshots.ts";
import type { HostWorld } from "./world.ts";
import { writeProtectContract } from "./write-protect.ts";
import { zfsContract } from "./zfs.ts";

/**
 * What the host wrappers rely on, asked with the same assertions of simulated machines and of real kernels, so that the
 * simulator cannot drift from the truth. `make` is called once; both machines must be as they were installed.
 */
export function hostContract(name: string, make: () => Promise<HostWorld>): void {
  describe(`host contract: ${name}`, () => {
    let lab: Lab | undefined;
    const current = (): Lab => {
      if (lab === undefined) throw new Error("the world is not open");
      return lab;
    };

    beforeAll(async () => {
      lab = new Lab(await make());
      await lab.zfs.ensureFilesystem(lab.parent, lab.o);
      await lab.lio.ensureModules(lab.o);
    });
    afterEach(async () => {
      await lab?.cleanUp();
    });
    afterAll(async () => {
      if (lab === undefined) return;
      try {
        expect(await leftOver(lab)).toEqual([]);
      } finally {
        await lab.world.close();
      }
    });

    poolContract(current);
    zfsContract(current);
    keyContract(current);
    snapshotContract(current);
    cloneContract(current);
    copyContract(current);
    rangeContract(current);
    blockDeviceContract(current);
    configfsContract(current);
    lioContract(current);
    lioPartialContract(current);
    iscsiContract(current);
    fenceContract(current);
    writeProtectContract(current);
    filesystemContract(current);
    mountContract(current);
    freezeContract(current);
    executorFileContract(current);
  });
}
