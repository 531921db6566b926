import { createHash } from "node:crypto";
import { pieceSize } from "../content.ts";
import type { Machine } from "../machine.ts";
import type { SnapshotDoc } from "../model.ts";
import { UnmodelledError } from "../failure.ts";
import { done, lastValue, parseOptions, ToolFailure, type Options, type Program } from "../program.ts";
import type { Producer } from "../byte-programs.ts";
import { effective, getSnapshot, snapshotKey } from "./datasets.ts";
import { piecesOf, type Pieces } from "./lineage.ts";

/**
 * `zfs send` of a volume: the records that ZFS 2.1 writes for one, in their layout (include/sys/zfs_ioctl.h), for the blocks
 * that hold something. Two things differ. Checksums are zero. And a file of a simulated filesystem, which lies at no place of
 * the device, is given one by its name, with zeros for data.
 */
const recordBytes = 312;
const type = { begin: 0, object: 1, freeObjects: 2, write: 3, free: 4, end: 5 } as const;
const dataObject = 1n;
const endOfObject = 0xffff_ffff_ffff_ffffn;

export const sendStream: Producer = (machine, args) => {
  const options = parseOptions("zfs send", args, { values: ["-i"] });
  const { snapshot, base } = endsOf(machine, options);
  return records(machine, options.rest[0] ?? "", snapshot, base);
};

/** Without -n the answer is no text. */
export const zfsSend: Program = (machine, args) => {
  const options = parseOptions("zfs send", args, { flags: ["-n", "-P"], values: ["-i"] });
  if (!options.flags.has("-n") || !options.flags.has("-P")) throw new UnmodelledError(`zfs send ${args.join(" ")} into text`);
  const { snapshot, base } = endsOf(machine, options);
  let size = 0;
  for (const record of records(machine, options.rest[0] ?? "", snapshot, base)) size += record.length;
  const from = lastValue(options, "-i");
  const line = from === undefined ? `full\t${options.rest[0] ?? ""}` : `incremental\t${from}\t${options.rest[0] ?? ""}`;
  return done(`${line}\t${size}\nsize\t${size}\n`);
};

function endsOf(machine: Machine, options: Options): { snapshot: SnapshotDoc; base: SnapshotDoc | undefined } {
  const [name, ...more] = options.rest;
  if (name === undefined || more.length > 0) throw new ToolFailure(2, "missing snapshot argument");
  const snapshot = getSnapshot(machine, name);
  const from = lastValue(options, "-i");
  if (from === undefined) return { snapshot, base: undefined };
  const base = machine.model.snapshots.get(snapshotKey(machine, from));
  if (base === undefined) throw new ToolFailure(1, `cannot open '${from}': dataset does not exist`);
  if (from.split("@", 1)[0] !== name.split("@", 1)[0]) throw new UnmodelledError("zfs send -i between two volumes");
  if (base.createTxg >= snapshot.createTxg) {
    throw new ToolFailure(1, `warning: cannot send '${name}': not an earlier snapshot from the same fs`);
  }
  return { snapshot, base };
}

function* records(machine: Machine, name: string, snapshot: SnapshotDoc, base: SnapshotDoc | undefined): Generator<Uint8Array> {
  const guid = BigInt(snapshot.guid);
  const dataset = name.split("@", 1)[0] ?? "";
  const block = Number(effective(machine, dataset, "volblocksize")?.value ?? "8192");
  yield begin(name, snapshot, base);
  yield record(type.object, (view) => {
    view.setBigUint64(8, dataObject, true);
    view.setUint32(16, 23, true); // DMU_OT_ZVOL
    view.setUint32(24, block, true);
    view.setBigUint64(40, guid, true);
  });
  const now = blocksOf(machine, snapshot, block);
  const before = base === undefined ? undefined : blocksOf(machine, base, block);
  const highest = Math.max(-1, ...now.keys(), ...(before?.keys() ?? []));
  yield free(BigInt((highest + 1) * block), endOfObject, guid);
  const places = new Set([...now.keys(), ...(before?.keys() ?? [])]);
  for (const index of [...places].sort((a, b) => a - b)) {
    const marks = now.get(index);
    if (marks === before?.get(index)) continue;
    if (marks === undefined) yield free(BigInt(index * block), BigInt(block), guid);
    else {
      yield record(type.write, (view) => {
        view.setBigUint64(8, dataObject, true);
        view.setBigUint64(24, BigInt(index * block), true);
        view.setBigUint64(32, BigInt(block), true);
        view.setBigUint64(40, guid, true);
      });
      yield dataOf(machine, snapshot, index * block, block);
    }
  }
  yield record(type.end, (view) => {
    view.setBigUint64(40, guid, true);
  });
}

function begin(name: string, snapshot: SnapshotDoc, base: SnapshotDoc | undefined): Uint8Array {
  return record(type.begin, (view, bytes) => {
    view.setBigUint64(8, 0x2_f5ba_cbacn, true);
    view.setUint32(16, 1, true);
    view.setBigUint64(24, BigInt(snapshot.created), true);
    view.setUint32(32, 3, true);
    view.setBigUint64(40, BigInt(snapshot.guid), true);
    view.setBigUint64(48, BigInt(base?.guid ?? "0"), true);
    bytes.write(name, 56, "utf8");
  });
}

function free(offset: bigint, length: bigint, guid: bigint): Uint8Array {
  return record(type.free, (view) => {
    view.setBigUint64(8, dataObject, true);
    view.setBigUint64(16, offset, true);
    view.setBigUint64(24, length, true);
    view.setBigUint64(32, guid, true);
  });
}

function record(kind: number, fill: (view: DataView, bytes: Buffer) => void): Uint8Array {
  const bytes = Buffer.alloc(recordBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, recordBytes);
  view.setUint32(0, kind, true);
  fill(view, bytes);
  return bytes;
}

/** What is in each block that holds something, in a form that is the same only for the same data. */
function blocksOf(machine: Machine, snapshot: SnapshotDoc, block: number): Map<number, string> {
  const size = Number(snapshot.volsize ?? "0");
  const blocks = new Map<number, string>();
  for (const [place, piece] of piecesOf(machine.model, snapshot.content) satisfies Pieces) {
    const start = place.startsWith("/") ? placeOfFile(place, size) : Number(place) * pieceSize;
    for (let at = start; at < Math.min(start + piece.bytes, size); at += pieceSize) {
      const index = Math.floor(at / block);
      blocks.set(index, `${blocks.get(index) ?? ""} ${place}@${piece.generation}`);
    }
  }
  return blocks;
}

/** A file's place, beyond where superblocks lie. */
function placeOfFile(path: string, size: number): number {
  const pieces = Math.max(1, Math.floor(size / pieceSize) - 16);
  const number = createHash("sha256").update(path).digest().readUInt32BE(0);
  return (16 + (number % pieces)) * pieceSize;
}

function dataOf(machine: Machine, { content }: SnapshotDoc, offset: number, length: number): Uint8Array {
  const data = Buffer.alloc(length);
  for (let at = offset - (offset % pieceSize); content !== undefined && at < offset + length; at += pieceSize) {
    const found = machine.model.blocks.get(`${content}/${at / pieceSize}`);
    if (found !== undefined) data.set(Buffer.from(found.data, "base64").subarray(0, offset + length - at), at - offset);
  }
  return data;
}
