import { bytes, type Bytes } from "@zfsilo/lib";
import { SendDump, type RangeRecord, type SendRecord } from "./send-dump.ts";

/** A run of bytes of a volume, never empty. */
export interface ByteRange {
  readonly offset: Bytes;
  readonly length: Bytes;
}

export interface RangeQuery {
  /** Of the newer snapshot: nothing beyond it is told. */
  readonly sizeBytes: Bytes;
  readonly toGuid: string;
  /** Of the older snapshot; without it all that holds data is told, with it all that may differ. */
  readonly fromGuid?: string;
  /** Ranges that end at or before it are left out. */
  readonly startOffset?: Bytes;
}

/** ZVOL_OBJ (include/sys/zvol_impl.h): the one object that holds a volume's data. */
const dataObject = 1;

/**
 * Reads the records of a plain `zfs send` of a volume, as zstream prints them, and tells which ranges it writes and, from an
 * older snapshot, frees: ascending, apart from each other, within the size. Holds one line and one range, whatever the
 * stream's size. Checksums are left alone: nothing is between sender and reader but a pipe, and a stream that was cut short
 * has no END record.
 */
export class RangeParser {
  readonly #query: RangeQuery;
  readonly #size: number;
  readonly #start: number;
  readonly #dump = new SendDump();
  #begun = false;
  #ended = false;
  #pending: { offset: number; end: number } | undefined;

  constructor(query: RangeQuery) {
    this.#query = query;
    this.#size = Number(query.sizeBytes);
    this.#start = Number(query.startOffset ?? 0n);
    if (!Number.isSafeInteger(this.#size) || !Number.isSafeInteger(this.#start)) throw new Error("a volume of more than 8 PiB");
  }

  /** The ranges that are complete with this piece of the dump. */
  push(piece: Uint8Array): ByteRange[] {
    const found: ByteRange[] = [];
    for (const record of this.#dump.push(piece)) {
      if (this.#ended) throw new Error("a send stream goes on after its end");
      if (this.#begun === (record.kind === "begin")) throw new Error("a send stream with another beginning than one BEGIN record");
      this.#begun = true;
      this.#use(record, found);
    }
    return found;
  }

  /** The last range, if any. Throws when the stream was cut short. */
  end(): ByteRange[] {
    if (!this.#ended) throw new Error("a send stream without its end");
    const found: ByteRange[] = [];
    this.#flush(found);
    return found;
  }

  #use(record: SendRecord, found: ByteRange[]): void {
    switch (record.kind) {
      case "begin":
        if (record.toGuid !== this.#query.toGuid || record.fromGuid !== (this.#query.fromGuid ?? "0")) {
          throw new Error(`a send stream from ${record.fromGuid} to ${record.toGuid}`);
        }
        return;
      case "write":
      case "free":
        if (record.object === dataObject && this.#concerns(record)) this.#add(record.offset, record.end, found);
        return;
      case "freeObjects":
        if (record.first <= dataObject && record.first + record.count > dataObject) throw new Error("a send stream without the volume's data");
        return;
      case "end":
        this.#ended = true;
        return;
      case "other":
    }
  }

  /**
   * FREE counts only against an older snapshot. The one to the end of the object comes with every stream in which the object
   * changed (dump_dnode in module/zfs/dmu_send.c) and says that nothing was ever written beyond: a volume's highest block
   * never sinks (dmu_free_long_range lowers dn_maxblkid only when all is freed at once, which volumes never do).
   */
  #concerns({ kind, end }: RangeRecord): boolean {
    return kind === "write" || (this.#query.fromGuid !== undefined && end !== Number.POSITIVE_INFINITY);
  }

  #add(offset: number, unclamped: number, found: ByteRange[]): void {
    const end = Math.min(unclamped, this.#size);
    if (!Number.isSafeInteger(offset) || Number.isNaN(end)) throw new Error("a send stream record beyond 8 PiB");
    if (offset >= end || end <= this.#start) return;
    if (this.#pending !== undefined && offset < this.#pending.offset) throw new Error("a send stream whose records do not ascend");
    if (this.#pending !== undefined && offset <= this.#pending.end) {
      this.#pending.end = Math.max(this.#pending.end, end);
      return;
    }
    this.#flush(found);
    this.#pending = { offset, end };
  }

  #flush(found: ByteRange[]): void {
    if (this.#pending === undefined) return;
    const { offset, end } = this.#pending;
    found.push({ offset: bytes(BigInt(offset)), length: bytes(BigInt(end - offset)) });
    this.#pending = undefined;
  }
}
