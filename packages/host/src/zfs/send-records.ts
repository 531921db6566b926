/**
 * Records of a ZFS send stream, as include/sys/zfs_ioctl.h of ZFS 2.1 lays them out (dmu_replay_record_t): 312 bytes, a type
 * and a payload length of 32 bits each, then a union. All numbers are in the byte order of the machine that sent.
 */
export const recordBytes = 312;

const recordType = {
  begin: 0,
  object: 1,
  freeObjects: 2,
  write: 3,
  free: 4,
  end: 5,
  writeByref: 6,
  spill: 7,
  writeEmbedded: 8,
} as const;

/** DMU_BACKUP_MAGIC, 0x2F5bacbac. */
const magic = { high: 0x2, low: 0xf5bacbac };
/** DMU_SUBSTREAM: one snapshot, and not a package of several. */
const substream = 1;
/** DMU_OST_ZVOL. */
const zvolObjset = 3;
/** DMU_BACKUP_FEATURE_RAW and _REDACTED: never asked for, and laid out differently. */
const foreignFeatures = (1 << 24) | (1 << 21);

export interface BeginRecord {
  readonly kind: "begin";
  readonly toGuid: string;
  /** `0` in a stream of everything. */
  readonly fromGuid: string;
  readonly payloadBytes: number;
}

/** `offset` and `end` of a FREE to the end of the object are not exact: `end` is Infinity. */
export interface RangeRecord {
  readonly kind: "write" | "free";
  readonly object: number;
  readonly offset: number;
  readonly end: number;
  readonly payloadBytes: number;
}

export interface OtherRecord {
  readonly kind: "other" | "end";
  readonly payloadBytes: number;
}

export type SendRecord = BeginRecord | RangeRecord | OtherRecord | { readonly kind: "freeObjects"; readonly first: number; readonly count: number; readonly payloadBytes: 0 };

/** Whether the stream that begins with these bytes was sent by a little-endian machine. Undefined: it is no send stream. */
export function byteOrder(view: DataView): boolean | undefined {
  for (const little of [true, false]) {
    const [a, b] = [view.getUint32(8, little), view.getUint32(12, little)];
    const [low, high] = little ? [a, b] : [b, a];
    if (low === magic.low && high === magic.high && view.getUint32(0, little) === recordType.begin) return little;
  }
  return undefined;
}

/** Throws on what a plain `zfs send` of a volume does not hold. */
export function readRecord(view: DataView, little: boolean): SendRecord {
  const type = view.getUint32(0, little);
  const u64 = (at: number): number => number64(view, at, little);
  switch (type) {
    case recordType.begin:
      return readBegin(view, little);
    case recordType.write:
      // drr_compressiontype at 50: with one, drr_compressed_size bytes follow, otherwise drr_logical_size.
      return range("write", u64(8), u64(24), u64(32), view.getUint8(50) === 0 ? u64(32) : u64(96));
    case recordType.writeByref:
      return range("write", u64(8), u64(16), u64(24), 0);
    case recordType.writeEmbedded:
      return range("write", u64(8), u64(16), u64(24), roundUp8(view.getUint32(52, little)));
    case recordType.free:
      return range("free", u64(8), u64(16), u64(24), 0);
    case recordType.object:
      return { kind: "other", payloadBytes: roundUp8(view.getUint32(28, little)) };
    case recordType.spill:
      return { kind: "other", payloadBytes: payload(u64(40) === 0 ? u64(16) : u64(40)) };
    case recordType.freeObjects:
      return { kind: "freeObjects", first: u64(8), count: u64(16), payloadBytes: 0 };
    case recordType.end:
      return { kind: "end", payloadBytes: 0 };
    default:
      throw new Error(`a send stream record of type ${type}`);
  }
}

function readBegin(view: DataView, little: boolean): BeginRecord {
  // drr_versioninfo: 2 bits what kind of stream, 30 bits of features.
  const version = view.getUint32(little ? 16 : 20, little);
  if ((version & 3) !== substream) throw new Error(`a send stream of kind ${version & 3}`);
  if (((version >>> 2) & foreignFeatures) !== 0) throw new Error(`a send stream with the features ${(version >>> 2).toString(16)}`);
  const objset = view.getUint32(32, little);
  if (objset !== zvolObjset) throw new Error(`a send stream of a dataset of type ${objset}`);
  return {
    kind: "begin",
    toGuid: view.getBigUint64(40, little).toString(),
    fromGuid: view.getBigUint64(48, little).toString(),
    payloadBytes: payload(view.getUint32(4, little)),
  };
}

function range(kind: RangeRecord["kind"], object: number, offset: number, length: number, payloadBytes: number): RangeRecord {
  return { kind, object, offset, end: offset + length, payloadBytes: payload(payloadBytes) };
}

/** Exact up to 2^53, which is 8 PiB; DMU_OBJECT_END and the like become Infinity. */
function number64(view: DataView, at: number, little: boolean): number {
  const high = view.getUint32(little ? at + 4 : at, little);
  const low = view.getUint32(little ? at : at + 4, little);
  return high > 0x1fffff ? Number.POSITIVE_INFINITY : high * 0x1_0000_0000 + low;
}

function roundUp8(size: number): number {
  return Math.ceil(size / 8) * 8;
}

/** No block is larger than 16 MiB (SPA_MAXBLOCKSIZE), nor is what begins a stream. */
const maxPayloadBytes = 16 << 20;

function payload(size: number): number {
  if (size <= maxPayloadBytes) return size;
  throw new Error(`a send stream record with ${size} bytes of payload`);
}
