import { StorageError } from "./errors.ts";

declare const bytesBrand: unique symbol;

/** A size in bytes, 0 to 2^63-1 (what a protobuf int64 and a ZFS volsize can hold). */
export type Bytes = bigint & { readonly [bytesBrand]: true };

const maxBytes = 2n ** 63n - 1n;
const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

/** Checks the range. Throws invalid_argument outside 0 to 2^63-1. */
export function bytes(value: bigint | number): Bytes {
  const size = BigInt(value);
  if (size < 0n || size > maxBytes) {
    throw new StorageError("invalid_argument", `size ${size} is not between 0 and 2^63-1 bytes`);
  }
  return size as Bytes;
}

/** Reads a plain decimal count of bytes, as `zfs get -p` and sysfs print it. */
export function parseBytes(text: string): Bytes {
  if (!/^\d{1,19}$/.test(text)) throw new StorageError("invalid_argument", `"${text}" is not a size in bytes`);
  return bytes(BigInt(text));
}

/** The smallest multiple of `multiple` that is not below `size`. */
export function roundUp(size: Bytes, multiple: bigint): Bytes {
  return bytes(((size + multiple - 1n) / multiple) * multiple);
}

/** For people: `1.5 GiB`. Never parse it. */
export function formatBytes(size: bigint): string {
  let value = Number(size);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit] ?? "B"}`;
}
