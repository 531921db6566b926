/**
 * What `zstream dump -Cv` of ZFS 2.1.11 prints for each record of a send stream, without the data: a line a record, but for
 * the first one, whose fields follow on lines of their own.
 *
 *     BEGIN record
 *     	toguid = c540b90171888902
 *     FREE object = 1 offset = 16384 length = 147456
 *     WRITE object = 1 type = 23 … offset = 163840 logical_size = 8192 compressed_size = 0 …
 *     END checksum = 6b1bf0c52cb/5cd0b7de0cfb80/3cecaa4c57996391/a17f8bb75ed84c06
 *     SUMMARY:
 *
 * The numbers of objects and bytes are decimal, those of BEGIN hexadecimal.
 */
export type SendRecord =
  | BeginRecord
  | RangeRecord
  | { readonly kind: "freeObjects"; readonly first: number; readonly count: number }
  | { readonly kind: "other" | "end" };

export interface BeginRecord {
  readonly kind: "begin";
  readonly toGuid: string;
  /** `0` in a stream of everything. */
  readonly fromGuid: string;
}

/** Exact up to 2^53, which is 8 PiB. A FREE to the end of the object has the length -1: its `end` is Infinity. */
export interface RangeRecord {
  readonly kind: "write" | "free";
  readonly object: number;
  readonly offset: number;
  readonly end: number;
}

/** DMU_SUBSTREAM (include/sys/zfs_ioctl.h): one snapshot, and not a package of several. */
const substream = "1";
/** DMU_OST_ZVOL (include/sys/fs/zfs.h). */
const zvolObjset = "3";
/** DMU_BACKUP_FEATURE_RAW and _REDACTED: never asked for, and with other records. */
const foreignFeatures = (1n << 24n) | (1n << 21n);

/** A line of a record has some 260 characters. */
const maxLineLength = 4096;

/** Cuts the dump into records. Whatever it does not know it refuses: a record that is passed over is a change that is missed. */
export class SendDump {
  #rest = "";
  #begin: Map<string, string> | undefined;
  #summary = false;

  /** The records that are complete with this piece. */
  push(piece: Uint8Array): SendRecord[] {
    const lines = (this.#rest + Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString("latin1")).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > maxLineLength) throw new Error("a dump with a line without an end");
    return lines.flatMap((line) => this.#take(line));
  }

  #take(line: string): SendRecord[] {
    if (this.#summary) return [];
    if (this.#begin !== undefined) {
      const [, name, value] = /^\t(\w+) = (.*)$/.exec(line) ?? [];
      if (name !== undefined && value !== undefined) {
        this.#begin.set(name, value);
        return [];
      }
      const record = readBegin(this.#begin);
      this.#begin = undefined;
      return [record, ...this.#take(line)];
    }
    if (line === "") return [];
    if (line === "BEGIN record") {
      this.#begin = new Map();
      return [];
    }
    if (line === "SUMMARY:") {
      this.#summary = true;
      return [];
    }
    return [readRecord(line)];
  }
}

function readBegin(fields: ReadonlyMap<string, string>): BeginRecord {
  const field = (name: string, pattern: RegExp): string => {
    const value = fields.get(name);
    if (value !== undefined && pattern.test(value)) return value;
    throw new Error(`a send stream whose ${name} is ${JSON.stringify(value ?? "missing")}`);
  };
  const hexadecimal = (name: string): bigint => BigInt(`0x${field(name, /^[0-9a-f]{1,16}$/)}`);
  const kind = field("hdrtype", /^\d+$/);
  if (kind !== substream) throw new Error(`a send stream of kind ${kind}`);
  const features = hexadecimal("features");
  if ((features & foreignFeatures) !== 0n) throw new Error(`a send stream with the features ${features.toString(16)}`);
  const objset = field("type", /^\d+$/);
  if (objset !== zvolObjset) throw new Error(`a send stream of a dataset of type ${objset}`);
  return { kind: "begin", toGuid: hexadecimal("toguid").toString(), fromGuid: hexadecimal("fromguid").toString() };
}

const write = /^WRITE object = (\d+) type = .* offset = (\d+) logical_size = (\d+) /;
const writeEmbedded = /^WRITE_EMBEDDED object = (\d+) offset = (\d+) length = (\d+) /;
const writeByref = /^WRITE_BYREF object = (\d+) checksum type = .* offset = (\d+) length = (\d+) /;
const free = /^FREE object = (\d+) offset = (\d+) length = (-1|\d+)$/;
const freeObjects = /^FREEOBJECTS firstobj = (\d+) numobjs = (\d+)$/;
/** Records that say nothing of where data lies. */
const other = /^(?:OBJECT object|SPILL block for object) = \d+ /;
const end = /^END checksum = /;

function readRecord(line: string): SendRecord {
  const written = write.exec(line) ?? writeEmbedded.exec(line) ?? writeByref.exec(line);
  if (written !== null) return range("write", written);
  const freed = free.exec(line);
  if (freed !== null) return range("free", freed);
  const objects = freeObjects.exec(line);
  if (objects !== null) return { kind: "freeObjects", first: Number(objects[1]), count: Number(objects[2]) };
  if (other.test(line)) return { kind: "other" };
  if (end.test(line)) return { kind: "end" };
  throw new Error(`a send stream with the record ${JSON.stringify(line.slice(0, 80))}`);
}

function range(kind: RangeRecord["kind"], [, object, at, length]: RegExpExecArray): RangeRecord {
  const offset = Number(at);
  return { kind, object: Number(object), offset, end: length === "-1" ? Number.POSITIVE_INFINITY : offset + Number(length) };
}
