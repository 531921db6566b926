/**
 * A size as zfs(8) accepts it: digits and an optional unit, as in `67108864`, `64M` or `1.5G`. Undefined when it is none.
 */
export function parseSize(text: string): bigint | undefined {
  const match = /^(\d+)(\.\d+)?([KMGTPE]?)(?:i?B)?$/i.exec(text);
  if (match === null) return undefined;
  const [, whole = "", fraction, unit = ""] = match;
  const factor = 1024n ** BigInt("BKMGTPE".indexOf(unit === "" ? "B" : unit.toUpperCase()));
  if (fraction === undefined) return BigInt(whole) * factor;
  // Six digits are more than anybody writes; BigInt keeps large whole parts exact.
  const millionths = BigInt(Math.round(Number(fraction) * 1e6));
  return BigInt(whole) * factor + (millionths * factor) / 1_000_000n;
}

/** `8K` for 8192, as zfs prints a power of two in messages. */
export function shortSize(value: bigint): string {
  const units = ["B", "K", "M", "G", "T", "P", "E"];
  let left = value;
  let unit = 0;
  while (left >= 1024n && left % 1024n === 0n && unit < units.length - 1) {
    left /= 1024n;
    unit += 1;
  }
  return `${left}${units[unit] ?? ""}`;
}

/**
 * The refreservation of a thick volume: its size and room for the indirect blocks of a volume written to its last block
 * (zvol_volsize_to_reservation, lib/libzfs/libzfs_dataset.c, ZFS 2.1: 1024 block pointers in each 128 KiB indirect block,
 * two copies of metadata).
 */
export function thickReservation(volsize: bigint, volblocksize: bigint): bigint {
  const pointersPerBlock = 1024n;
  let blocks = volsize / volblocksize;
  let indirect = 7n;
  while (blocks > 1n) {
    blocks = (blocks + pointersPerBlock - 1n) / pointersPerBlock;
    indirect += blocks;
  }
  return volsize + indirect * 2n * 131_072n;
}
