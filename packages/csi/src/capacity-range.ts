import type { csi } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { outOfRange } from "./error-map.ts";

/** What a volume has whose size nobody asked for. */
export const defaultCapacityBytes = 1024n ** 3n;

/** The control plane rounds up to a multiple of the block size, which is 16 KiB unless an option says otherwise. */
const defaultBlockBytes = 16_384n;

/** Below these mkfs refuses: mkfs.xfs 6.1 from 300 MB on, mke2fs 1.47 with its journal from a few MiB on. */
const leastBytes: Readonly<Record<string, bigint>> = { xfs: 300n * 1024n ** 2n, ext4: 16n * 1024n ** 2n };

/** What the control plane takes: what an int64 holds, less the largest block, so that rounding up cannot overflow. */
const largestBytes = 2n ** 63n - 1n - 131_072n;

export interface SizeWanted {
  readonly range: csi.CapacityRange | undefined;
  /** `volblocksize`, when it is set. */
  readonly blockSize: string | undefined;
  /** Empty for raw block. */
  readonly fsType: string;
  /** Size of what the volume is made of. */
  readonly sourceBytes?: bigint;
}

/** The size a new volume gets, exactly as the control plane will make it. */
export function chooseCapacity({ range, blockSize, fsType, sourceBytes = 0n }: SizeWanted): bigint {
  const { required, limit } = checkRange(range);
  const block = blockBytes(blockSize);
  const least = max(leastBytes[fsType] ?? block, sourceBytes);
  const nothingSaid = required === 0n && sourceBytes === 0n;
  const wanted = max(nothingSaid ? preferred(limit) : required, least);
  const size = roundUp(wanted, block);
  requireWithin(size, limit);
  return size;
}

/** The size a volume grows to. */
export function chooseExpansion(range: csi.CapacityRange | undefined, current: bigint, blockSize: string | undefined): bigint {
  const { required, limit } = checkRange(range);
  if (required === 0n && limit === 0n) throw new StorageError("invalid_argument", "capacity_range: is required");
  const size = max(roundUp(required, blockBytes(blockSize)), current);
  requireWithin(size, limit);
  return size;
}

/** Whether a size is what a range asks for. */
export function isWithin(size: bigint, range: csi.CapacityRange | undefined): boolean {
  const { required, limit } = checkRange(range);
  return size >= required && (limit === 0n || size <= limit);
}

function checkRange(range: csi.CapacityRange | undefined): { readonly required: bigint; readonly limit: bigint } {
  const required = range?.requiredBytes ?? 0n;
  const limit = range?.limitBytes ?? 0n;
  if (required < 0n || limit < 0n) throw outOfRange("capacity_range: a size is negative");
  if (limit !== 0n && required > limit) throw outOfRange(`capacity_range: required_bytes ${required} is more than limit_bytes ${limit}`);
  return { required, limit };
}

function requireWithin(size: bigint, limit: bigint): void {
  if (size > largestBytes) throw outOfRange(`capacity_range: ${size} bytes are more than the ${largestBytes} that a volume can have`);
  if (limit === 0n || size <= limit) return;
  throw outOfRange(`capacity_range: the smallest size that can be had is ${size} bytes, which is more than limit_bytes ${limit}`);
}

/** The smallest volume that can be had. */
export function smallestSize(blockSize: string | undefined, fsType: string): bigint {
  const block = blockBytes(blockSize);
  return roundUp(leastBytes[fsType] ?? block, block);
}

function preferred(limit: bigint): bigint {
  return limit !== 0n && limit < defaultCapacityBytes ? (limit / defaultBlockBytes) * defaultBlockBytes : defaultCapacityBytes;
}

function blockBytes(blockSize: string | undefined): bigint {
  return blockSize !== undefined && /^\d{1,7}$/.test(blockSize) && blockSize !== "0" ? BigInt(blockSize) : defaultBlockBytes;
}

function roundUp(size: bigint, block: bigint): bigint {
  return ((size + block - 1n) / block) * block;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
