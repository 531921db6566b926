import type { MkfsOptions } from "./mkfs-options.ts";

/** What the growth of an ext4 depends on. It never changes. */
export interface Ext4Layout {
  readonly blockBytes: number;
  /** Feature 64bit: block numbers of 64 bits, and descriptors of 64 bytes. */
  readonly wide: boolean;
}

const mib = 1n << 20n;
/** mke2fs calls what is smaller `small`, and gives it blocks of 1 KiB and four times the inodes (mke2fs.conf of e2fsprogs 1.47). */
const smallBytes = 512n * mib;
/** With blocks of 4 KiB anything smaller has no journal: mke2fs wants 2048 blocks for one. */
const leastWithJournal = 8n * mib;
/** In blocks of 4 KiB: 1 TiB. mke2fs itself reserves descriptors for 1024 times the size, which small volumes outgrow. */
const reservedBlocks = 268_435_456n;
const reservedBytes = reservedBlocks * 4096n;

/** The layout of what mkfs.ext4 makes with these options on a device of this size. */
export function ext4LayoutFor(options: MkfsOptions, deviceBytes: bigint): Ext4Layout {
  const own = deviceBytes < leastWithJournal ? 1024 : 4096;
  return { blockBytes: Number(options["block_size"] ?? own), wide: options["64bit"] !== "0" };
}

/**
 * What mkfs.ext4 is given so that the filesystem can follow its volume: blocks of 4 KiB also where it is small, no more inodes than a
 * larger one has, and descriptors reserved for 1 TiB. Options of the volume's own win.
 */
export function ext4Arguments(options: MkfsOptions, deviceBytes: bigint): string[] {
  const { blockBytes } = ext4LayoutFor(options, deviceBytes);
  const isRoomy = blockBytes === 4096;
  const reserve = isRoomy && deviceBytes * 1024n < reservedBytes ? `,resize=${reservedBlocks}` : "";
  const blocks = isRoomy && options["block_size"] === undefined ? ["-b", "4096"] : [];
  const countsInodes = options["bytes_per_inode"] !== undefined || options["inodes"] !== undefined;
  const inodes = isRoomy && deviceBytes < smallBytes && !countsInodes ? ["-i", "16384"] : [];
  return ["-E", `nodiscard,lazy_itable_init=1${reserve}`, ...blocks, ...inodes];
}

/**
 * The size beyond which resize2fs says "too many block group descriptors": those of all groups have to fit into the first group
 * (resize/main.c, e2fsprogs 1.47). Seen: 1099377410048 bytes work with blocks of 1 KiB, one group more does not.
 */
export function largestExt4({ blockBytes, wide }: Ext4Layout): bigint {
  const size = BigInt(blockBytes);
  const blocksPerGroup = 8n * size;
  const first = blockBytes === 1024 ? 1n : 0n;
  const perBlock = size / (wide ? 64n : 32n);
  const byDescriptors = (blocksPerGroup - first) * perBlock * blocksPerGroup * size;
  const byNumbers = ((1n << 32n) - 1n) * size;
  return !wide && byNumbers < byDescriptors ? byNumbers : byDescriptors;
}

/** 200 GiB in groups of 8 MiB took 46 s on a mounted ext4 (hosts.md), 1 TiB many minutes: a command has five. */
const groupsAtOnce = 25_600n;

/** The size to which it can be grown in one call from the present one. */
export function ext4GrowthLimit(layout: Ext4Layout, presentBytes: bigint): bigint {
  const most = largestExt4(layout);
  if (layout.blockBytes >= 4096) return most;
  const groupBytes = 8n * BigInt(layout.blockBytes) ** 2n;
  const step = presentBytes + groupsAtOnce * groupBytes;
  return step < most ? step : most;
}
