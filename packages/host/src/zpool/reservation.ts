/** How the space for a thick volume is counted on one kind of top-level device. */
export interface StripeLayout {
  readonly kind: "raidz" | "draid";
  readonly parity: number;
  /** raidz: all devices of the group. draid: data devices of one stripe. */
  readonly devices: number;
}

export interface PoolLayout {
  /** The raidz and draid groups that hold data; none for disks and mirrors, which store a block as it is. */
  readonly stripes: readonly StripeLayout[];
  /** Power of two of the sector size, 0 when the pool was left to find it out (zpoolprops(7), `ashift`). */
  readonly ashift: number;
}

/** Free space is counted as if all blocks were of this size (SPA_OLD_MAXBLOCKSIZE, 128 KiB). */
const typicalBlock = 131_072n;
/** An indirect block holds 1024 pointers of 128 bytes. */
const pointersPerBlock = 1024n;
/** What ZFS 2.1 chooses by itself: 512-byte sectors up to zfs_vdev_max_auto_ashift (zfs(4)). */
const automaticShifts = [9, 10, 11, 12, 13, 14] as const;

/**
 * The refreservation that ZFS gives a thick volume: its blocks as the pool stores them, and room for the metadata of a volume
 * that is written to the last block. The same sums as zvol_volsize_to_reservation (lib/libzfs/libzfs_dataset.c, ZFS 2.1), which
 * does not count `copies` when a volume is created (seen on 2.1.11). Where the sector size is not known, the dearest counts.
 */
export function thickReservation(volsize: bigint, volblocksize: bigint, { stripes, ashift }: PoolLayout): bigint {
  const blocks = volsize / volblocksize;
  const shifts = ashift === 0 ? automaticShifts : [ashift];
  const inStripes = stripes.flatMap((layout) => shifts.map((shift) => stored(blocks, volblocksize, layout, BigInt(shift))));
  const data = inStripes.length === 0 ? blocks * volblocksize : inStripes.reduce((a, b) => (a > b ? a : b));
  return data + metadata(blocks);
}

/** Data blocks in the unit of `available`: that of a pool whose blocks all have the typical size. */
function stored(blocks: bigint, volblocksize: bigint, layout: StripeLayout, shift: bigint): bigint {
  return (blocks * allocated(volblocksize, layout, shift) * typicalBlock) / allocated(typicalBlock, layout, shift);
}

/** vdev_raidz_asize and vdev_draid_asize: sectors for data and parity, filled up to what can be given back. */
function allocated(bytes: bigint, { kind, parity, devices }: StripeLayout, shift: bigint): bigint {
  const width = BigInt(devices);
  const redundancy = BigInt(parity);
  const sectors = ((bytes - 1n) >> shift) + 1n;
  if (kind === "draid") return (upTo(sectors, width) / width) * (width + redundancy) << shift;
  const data = width - redundancy;
  const all = sectors + redundancy * (upTo(sectors, data) / data);
  return upTo(all, redundancy + 1n) << shift;
}

/** Seven levels of the meta node, then each level of indirect blocks; two copies of each, 128 KiB before compression. */
function metadata(blocks: bigint): bigint {
  let indirect = 7n;
  for (let left = blocks; left > 1n; ) {
    left = upTo(left, pointersPerBlock) / pointersPerBlock;
    indirect += left;
  }
  return indirect * 2n * 131_072n;
}

/** The largest thick volume, a multiple of `unit`, whose reservation is at most `available` under every block size it may get. */
export function largestThickVolume(available: bigint, unit: bigint, volblocksizes: readonly bigint[], layout: PoolLayout): bigint {
  const fits = (units: bigint): boolean =>
    volblocksizes.every((volblocksize) => thickReservation(units * unit, volblocksize, layout) <= available);
  let low = 0n;
  let high = available > 0n ? available / unit : 0n;
  while (low < high) {
    const middle = (low + high + 1n) / 2n;
    if (fits(middle)) low = middle;
    else high = middle - 1n;
  }
  return low * unit;
}

function upTo(value: bigint, multiple: bigint): bigint {
  return ((value + multiple - 1n) / multiple) * multiple;
}
