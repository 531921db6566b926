import { describe, expect, it } from "vitest";
import { largestThickVolume, thickReservation, type PoolLayout } from "./reservation.ts";

const plain: PoolLayout = { stripes: [], ashift: 0 };
const raidz1 = (ashift: number): PoolLayout => ({ stripes: [{ kind: "raidz", parity: 1, devices: 3 }], ashift });
const raidz2: PoolLayout = { stripes: [{ kind: "raidz", parity: 2, devices: 6 }], ashift: 12 };
const draid: PoolLayout = { stripes: [{ kind: "draid", parity: 1, devices: 2 }], ashift: 12 };

/** `refreservation` of volumes of 128 MiB, as ZFS 2.1.11 gave it on pools made for it. */
const seen: readonly (readonly [what: string, layout: PoolLayout, volblocksize: bigint, refreservation: bigint])[] = [
  ["raidz1 of 3, ashift 9", raidz1(9), 4096n, 144_703_488n],
  ["raidz1 of 3, ashift 9", raidz1(9), 8192n, 140_509_184n],
  ["raidz1 of 3, ashift 9", raidz1(9), 16_384n, 138_412_032n],
  ["raidz1 of 3, ashift 9", raidz1(9), 131_072n, 136_314_880n],
  ["raidz1 of 3, ashift 12", raidz1(12), 4096n, 189_442_730n],
  ["raidz1 of 3, ashift 12", raidz1(12), 8192n, 185_248_426n],
  ["raidz1 of 3, ashift 12", raidz1(12), 16_384n, 138_412_032n],
  ["raidz1 of 3, ashift 12", raidz1(12), 65_536n, 136_839_168n],
  ["raidz1 of 3, ashift 13", raidz1(13), 8192n, 185_248_426n],
  ["raidz1 of 3, ashift 13", raidz1(13), 16_384n, 183_151_274n],
  ["raidz1 of 3, ashift 13", raidz1(13), 65_536n, 136_839_168n],
  ["raidz2 of 6, ashift 12", raidz2, 4096n, 278_921_216n],
  ["raidz2 of 6, ashift 12", raidz2, 8192n, 274_726_912n],
  ["raidz2 of 6, ashift 12", raidz2, 16_384n, 138_412_032n],
  ["draid1:2d", draid, 4096n, 278_921_216n],
  ["draid1:2d", draid, 8192n, 140_509_184n],
  ["draid1:2d", draid, 65_536n, 136_839_168n],
];

describe("the reservation of a thick volume", () => {
  it.each(seen)("on %s (%o) with blocks of %s is %s", (_what, layout, volblocksize, refreservation) => {
    expect(thickReservation(134_217_728n, volblocksize, layout)).toBe(refreservation);
  });

  it("is size and metadata on disks and mirrors", () => {
    expect(thickReservation(16_777_216n, 8192n, plain)).toBe(19_398_656n);
    expect(thickReservation(119_095_296n, 8192n, plain)).toBe(125_124_608n);
  });

  it("counts the dearest sector size where it is not known", () => {
    const unknown = thickReservation(134_217_728n, 8192n, raidz1(0));
    for (const ashift of [9, 12, 13, 14]) expect(unknown).toBeGreaterThanOrEqual(thickReservation(134_217_728n, 8192n, raidz1(ashift)));
  });
});

describe("the largest thick volume", () => {
  it("is what ZFS 2.1.11 took under a quota on raidz1, found by trying", () => {
    expect(largestThickVolume(104_726_656n, 8192n, [8192n], raidz1(12))).toBe(75_202_560n);
  });

  it("fits, and one unit more does not", () => {
    for (const available of [0n, 1n, 2_000_000n, 10_000_000n, 7_801_290_240n, 1n << 50n]) {
      const size = largestThickVolume(available, 16_384n, [8192n, 16_384n], raidz2);
      if (size > 0n) expect(thickReservation(size, 8192n, raidz2)).toBeLessThanOrEqual(available);
      expect(thickReservation(size + 16_384n, 8192n, raidz2)).toBeGreaterThan(available);
    }
  });
});
