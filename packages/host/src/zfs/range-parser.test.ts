import fc from "fast-check";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { bytes } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { RangeParser, type RangeQuery } from "./range-parser.ts";

const stream = (name: string): Buffer =>
  gunzipSync(readFileSync(new URL(`./testdata/send-${name}.zfs-2.1.11.stream.gz`, import.meta.url)));

/** What `zfs get guid` said of the captured snapshots. */
const guid = {
  a: BigInt("0x2492dab18066e489").toString(),
  b: BigInt("0xc540b90171888902").toString(),
  c: BigInt("0x02334f0474b7e597").toString(),
};

const mib = 1024 * 1024;

function ranges(data: Uint8Array, query: RangeQuery, pieceBytes = data.length): [offset: number, length: number][] {
  const parser = new RangeParser(query);
  const found = [];
  for (let at = 0; at < data.length; at += pieceBytes) found.push(...parser.push(data.subarray(at, at + pieceBytes)));
  found.push(...parser.end());
  return found.map(({ offset, length }) => [Number(offset), Number(length)]);
}

describe("captured streams", () => {
  const block = 8192;

  it("tells the blocks of a snapshot that were written", () => {
    const query = { sizeBytes: bytes(mib), toGuid: guid.a };
    const wanted = [[0, 2 * block], [10 * block, block], [127 * block, block]];
    expect(ranges(stream("w-a"), query)).toEqual(wanted);
    for (const pieceBytes of [1, 7, 311, 312, 313, 8192]) expect(ranges(stream("w-a"), query, pieceBytes)).toEqual(wanted);
  });

  it("tells what was written and freed since another, with the holes that zfs sends along", () => {
    const query = { sizeBytes: bytes(mib), toGuid: guid.b, fromGuid: guid.a };
    expect(ranges(stream("w-ab"), query)).toEqual([[block, 126 * block]]);
    const grown = { sizeBytes: bytes(2 * mib), toGuid: guid.c, fromGuid: guid.b };
    const found = ranges(stream("w-bc"), grown);
    expect(found).toEqual([[16384, 65536], [90112, 73728], [180224, 860160], [1048576, 598016]]);
  });

  it("ends at the size, and leaves out what lies before the start", () => {
    const query = { sizeBytes: bytes(mib), toGuid: guid.c, fromGuid: guid.b };
    expect(ranges(stream("w-bc"), query)).toEqual([[16384, 65536], [90112, 73728], [180224, 860160]]);
    expect(ranges(stream("w-bc"), { ...query, startOffset: bytes(163840) })).toEqual([[180224, 860160]]);
    expect(ranges(stream("w-bc"), { ...query, startOffset: bytes(163839) })).toEqual([[90112, 73728], [180224, 860160]]);
  });

  it.each([
    ["b512-a", 512],
    ["b131072-a", 131072],
  ])("reads %s", (name, blockBytes) => {
    const data = stream(name);
    const toGuid = data.readBigUInt64LE(40).toString();
    const found = ranges(data, { sizeBytes: bytes(mib), toGuid });
    expect(found.length).toBeGreaterThan(0);
    for (const [offset, length] of found) {
      expect(offset % blockBytes).toBe(0);
      expect(length % blockBytes).toBe(0);
    }
    expect(found.some(([offset, length]) => offset <= 512_000 && 512_512 <= offset + length)).toBe(true);
  });

  it("refuses a stream that is cut short, wherever", () => {
    const data = stream("w-a");
    fc.assert(
      fc.property(fc.integer({ min: 0, max: data.length - 1 }), (end) => {
        expect(() => ranges(data.subarray(0, end), { sizeBytes: bytes(mib), toGuid: guid.a }, 1000)).toThrow("without its end");
      }),
    );
  });

  it("refuses another stream than was asked for", () => {
    expect(() => ranges(stream("w-a"), { sizeBytes: bytes(mib), toGuid: guid.b })).toThrow("a send stream from 0 to");
    expect(() => ranges(stream("w-ab"), { sizeBytes: bytes(mib), toGuid: guid.b })).toThrow("a send stream from");
    expect(() => ranges(Buffer.alloc(400), { sizeBytes: bytes(mib), toGuid: guid.a })).toThrow("not a send stream");
    const twice = Buffer.concat([stream("w-a"), stream("w-a")]);
    expect(() => ranges(twice, { sizeBytes: bytes(mib), toGuid: guid.a })).toThrow("goes on after its end");
  });

  it("never hangs or goes beyond the size on damaged bytes", () => {
    const data = stream("w-ab");
    fc.assert(
      fc.property(fc.integer({ min: 0, max: data.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const damaged = Buffer.from(data);
        damaged[at] = value;
        let found: [number, number][] = [];
        try {
          found = ranges(damaged, { sizeBytes: bytes(mib), toGuid: guid.b, fromGuid: guid.a });
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
        let before = -1;
        for (const [offset, length] of found) {
          expect(offset).toBeGreaterThan(before);
          expect(length).toBeGreaterThan(0);
          before = offset + length;
        }
        expect(before).toBeLessThanOrEqual(mib);
      }),
      { numRuns: 300 },
    );
  });
});

describe("made-up streams", () => {
  const to = 7n;
  const from = 5n;
  const blocks = 64;

  /** The union of what was asked for, block by block, must come out again, whatever the byte order and the pieces. */
  it("gives back exactly the blocks that were written or freed, joined", () => {
    const kind = fc.constantFrom("write", "free", "embedded", "compressed", "none");
    fc.assert(
      fc.property(fc.array(kind, { minLength: blocks, maxLength: blocks }), fc.boolean(), fc.integer({ min: 1, max: 2000 }), (kinds, little, piece) => {
        const data = Buffer.concat([begin(little, to, from), ...kinds.flatMap((each, index) => blockRecords(little, each, index)), end(little)]);
        const wanted: [number, number][] = [];
        for (const [index, each] of kinds.entries()) {
          if (each === "none") continue;
          const last = wanted.at(-1);
          if (last !== undefined && last[0] + last[1] === index * 512) last[1] += 512;
          else wanted.push([index * 512, 512]);
        }
        const query = { sizeBytes: bytes(blocks * 512), toGuid: String(to), fromGuid: String(from) };
        expect(ranges(data, query, piece)).toEqual(wanted);
      }),
    );
  });

  it("refuses records that do not ascend", () => {
    const data = Buffer.concat([begin(true, to, from), ...blockRecords(true, "write", 5), ...blockRecords(true, "write", 3), end(true)]);
    expect(() => ranges(data, { sizeBytes: bytes(mib), toGuid: "7", fromGuid: "5" })).toThrow("do not ascend");
  });

  it("refuses what a plain send does not hold", () => {
    for (const type of [9, 10, 77]) {
      const data = Buffer.concat([begin(true, to, from), record(true, type, {}), end(true)]);
      expect(() => ranges(data, { sizeBytes: bytes(mib), toGuid: "7", fromGuid: "5" })).toThrow(`record of type ${type}`);
    }
  });
});

function record(little: boolean, type: number, fields: Readonly<Record<number, bigint | number>>): Buffer {
  const data = Buffer.alloc(312);
  const view = new DataView(data.buffer, data.byteOffset, 312);
  view.setUint32(0, type, little);
  for (const [at, value] of Object.entries(fields)) {
    if (typeof value === "bigint") view.setBigUint64(Number(at), value, little);
    else view.setUint32(Number(at), value, little);
  }
  return data;
}

const begin = (little: boolean, to: bigint, from: bigint): Buffer =>
  record(little, 0, { 8: 0x2f5bacbacn, 16: 1n, 32: 3, 40: to, 48: from });
const end = (little: boolean): Buffer => record(little, 5, {});

function blockRecords(little: boolean, kind: string, index: number): Buffer[] {
  const offset = BigInt(index * 512);
  if (kind === "write") return [record(little, 3, { 8: 1n, 24: offset, 32: 512n }), Buffer.alloc(512, 0xff)];
  if (kind === "free") return [record(little, 4, { 8: 1n, 16: offset, 24: 512n })];
  if (kind === "embedded") return [record(little, 8, { 8: 1n, 16: offset, 24: 512n, 48: 512, 52: 21 }), Buffer.alloc(24, 0xff)];
  if (kind === "compressed") {
    const header = record(little, 3, { 8: 1n, 24: offset, 32: 512n, 96: 100n });
    header[50] = 15;
    return [header, Buffer.alloc(100, 0xff)];
  }
  // Another object's records are none of ours.
  return [record(little, 3, { 8: 2n, 24: offset, 32: 512n }), Buffer.alloc(512, 0xff), record(little, 1, { 8: 2n, 28: 3 }), Buffer.alloc(8)];
}
