import { describe, expect, it } from "vitest";
import { ext4Arguments, ext4GrowthLimit, ext4LayoutFor, largestExt4 } from "./ext4-layout.ts";

const mib = (count: bigint): bigint => count << 20n;
const gib = (count: bigint): bigint => count << 30n;

describe("ext4Arguments", () => {
  it.each([
    ["a small device", {}, mib(64n), "-E nodiscard,lazy_itable_init=1,resize=268435456 -b 4096 -i 16384"],
    ["one that mke2fs does not call small", {}, mib(512n), "-E nodiscard,lazy_itable_init=1,resize=268435456 -b 4096"],
    ["one that mke2fs reserves enough for", {}, gib(1n), "-E nodiscard,lazy_itable_init=1 -b 4096"],
    ["one too small for a journal of large blocks", {}, mib(4n), "-E nodiscard,lazy_itable_init=1"],
    ["a block size of its own", { block_size: "1024" }, mib(64n), "-E nodiscard,lazy_itable_init=1"],
    ["the same block size asked for", { block_size: "4096" }, mib(64n), "-E nodiscard,lazy_itable_init=1,resize=268435456 -i 16384"],
    ["a count of inodes", { inodes: "100" }, mib(64n), "-E nodiscard,lazy_itable_init=1,resize=268435456 -b 4096"],
    ["a ratio of inodes", { bytes_per_inode: "4096" }, mib(64n), "-E nodiscard,lazy_itable_init=1,resize=268435456 -b 4096"],
  ])("%s", (_, options, size, argv) => {
    expect(ext4Arguments(options, size).join(" ")).toBe(argv);
  });
});

describe("ext4LayoutFor", () => {
  it.each([
    [{}, mib(64n), { blockBytes: 4096, wide: true }],
    [{}, mib(4n), { blockBytes: 1024, wide: true }],
    [{ block_size: "2048", "64bit": "0" }, mib(64n), { blockBytes: 2048, wide: false }],
  ])("%j", (options, size, layout) => {
    expect(ext4LayoutFor(options, size)).toEqual(layout);
  });
});

describe("limits", () => {
  it.each([
    // What resize2fs of e2fsprogs 1.47 did on files: this much works, one group more does not.
    [{ blockBytes: 1024, wide: true }, 1_099_377_410_048n],
    [{ blockBytes: 4096, wide: true }, 256n << 40n],
    [{ blockBytes: 4096, wide: false }, ((1n << 32n) - 1n) * 4096n],
  ])("of %j", (layout, most) => {
    expect(largestExt4(layout)).toBe(most);
  });

  it("grows small blocks by so many groups at once, and large ones as far as they go", () => {
    expect(ext4GrowthLimit({ blockBytes: 1024, wide: true }, mib(64n))).toBe(mib(64n) + gib(200n));
    expect(ext4GrowthLimit({ blockBytes: 1024, wide: true }, gib(1000n))).toBe(1_099_377_410_048n);
    expect(ext4GrowthLimit({ blockBytes: 4096, wide: true }, mib(64n))).toBe(256n << 40n);
  });
});
