import fc from "fast-check";
import { readFileSync } from "node:fs";
import { bytes } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { RangeParser, type RangeQuery } from "./range-parser.ts";

const dump = (name: string): Buffer => readFileSync(new URL(`./testdata/send-${name}.zstream-2.1.11.stdout.txt`, import.meta.url));

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

describe("captured dumps", () => {
  const block = 8192;

  it("tells the blocks of a snapshot that were written", () => {
    const query = { sizeBytes: bytes(mib), toGuid: guid.a };
    const wanted = [[0, 2 * block], [10 * block, block], [127 * block, block]];
    expect(ranges(dump("w-a"), query)).toEqual(wanted);
    for (const pieceBytes of [1, 7, 255, 256, 8192]) expect(ranges(dump("w-a"), query, pieceBytes)).toEqual(wanted);
  });

  it("tells what was written and freed since another, with the holes that zfs sends along", () => {
    const query = { sizeBytes: bytes(mib), toGuid: guid.b, fromGuid: guid.a };
    expect(ranges(dump("w-ab"), query)).toEqual([[block, 126 * block]]);
    const grown = { sizeBytes: bytes(2 * mib), toGuid: guid.c, fromGuid: guid.b };
    const found = ranges(dump("w-bc"), grown);
    expect(found).toEqual([[16384, 65536], [90112, 73728], [180224, 860160], [1048576, 598016]]);
  });

  it("ends at the size, and leaves out what lies before the start", () => {
    const query = { sizeBytes: bytes(mib), toGuid: guid.c, fromGuid: guid.b };
    expect(ranges(dump("w-bc"), query)).toEqual([[16384, 65536], [90112, 73728], [180224, 860160]]);
    expect(ranges(dump("w-bc"), { ...query, startOffset: bytes(163840) })).toEqual([[180224, 860160]]);
    expect(ranges(dump("w-bc"), { ...query, startOffset: bytes(163839) })).toEqual([[90112, 73728], [180224, 860160]]);
  });

  it.each([
    ["b512-a", 512],
    ["b131072-a", 131072],
  ])("reads %s", (name, blockBytes) => {
    const data = dump(name);
    const toGuid = BigInt(`0x${/toguid = (\w+)/.exec(data.toString())?.[1] ?? ""}`).toString();
    const found = ranges(data, { sizeBytes: bytes(mib), toGuid });
    expect(found.length).toBeGreaterThan(0);
    for (const [offset, length] of found) {
      expect(offset % blockBytes).toBe(0);
      expect(length % blockBytes).toBe(0);
    }
    expect(found.some(([offset, length]) => offset <= 512_000 && 512_512 <= offset + length)).toBe(true);
  });

  it("refuses a dump that is cut short, wherever", () => {
    const data = dump("w-a");
    const complete = data.indexOf("\nEND checksum");
    fc.assert(
      fc.property(fc.integer({ min: 0, max: complete }), (end) => {
        expect(() => ranges(data.subarray(0, end), { sizeBytes: bytes(mib), toGuid: guid.a }, 1000)).toThrow("without its end");
      }),
    );
  });

  it("refuses the dump of a stream that was cut short, which zstream takes for a whole one", () => {
    const data = dump("w-a").toString();
    const cut = Buffer.from(data.replace(/^END .*\n/m, ""));
    expect(() => ranges(cut, { sizeBytes: bytes(mib), toGuid: guid.a })).toThrow("without its end");
  });

  it("refuses another stream than was asked for", () => {
    expect(() => ranges(dump("w-a"), { sizeBytes: bytes(mib), toGuid: guid.b })).toThrow("a send stream from 0 to");
    expect(() => ranges(dump("w-ab"), { sizeBytes: bytes(mib), toGuid: guid.b })).toThrow("a send stream from");
    expect(() => ranges(Buffer.from("zfs: what\n"), { sizeBytes: bytes(mib), toGuid: guid.a })).toThrow('the record "zfs: what"');
    expect(() => ranges(Buffer.alloc(8192, "x"), { sizeBytes: bytes(mib), toGuid: guid.a }, 1000)).toThrow("a line without an end");
    const one = dump("w-a").toString().replace(/SUMMARY:[^]*$/, "");
    expect(() => ranges(Buffer.from(one + one), { sizeBytes: bytes(mib), toGuid: guid.a })).toThrow("goes on after its end");
    const headless = Buffer.from(one.replace(/^BEGIN[^]*?\n\n/, ""));
    expect(() => ranges(headless, { sizeBytes: bytes(mib), toGuid: guid.a })).toThrow("another beginning");
  });

  it("never hangs or goes beyond the size on damaged bytes", () => {
    const data = dump("w-ab");
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

describe("made-up dumps", () => {
  const query: RangeQuery = { sizeBytes: bytes(mib), toGuid: "7", fromGuid: "5" };
  const blocks = 64;

  /** The union of what was asked for, block by block, must come out again, whatever the pieces. */
  it("give back exactly the blocks that were written or freed, joined", () => {
    const kind = fc.constantFrom<Kind>("write", "free", "embedded", "reference", "compressed", "none");
    fc.assert(
      fc.property(fc.array(kind, { minLength: blocks, maxLength: blocks }), fc.integer({ min: 1, max: 2000 }), (kinds, piece) => {
        const wanted: [number, number][] = [];
        for (const [index, each] of kinds.entries()) {
          if (each === "none") continue;
          const last = wanted.at(-1);
          if (last !== undefined && last[0] + last[1] === index * 512) last[1] += 512;
          else wanted.push([index * 512, 512]);
        }
        expect(ranges(made(...kinds.map(blockRecord)), { ...query, sizeBytes: bytes(blocks * 512) }, piece)).toEqual(wanted);
      }),
    );
  });

  it("are refused when records do not ascend", () => {
    expect(() => ranges(made(blockRecord("write", 5), blockRecord("write", 3)), query)).toThrow("do not ascend");
  });

  it.each([
    ["REDACT object = 1 offset = 0 length = 512"],
    ["OBJECT_RANGE firstobj = 0 numslots = 32 flags = 0 salt = 00 iv = 00 mac = 00"],
    ["INVALID record found: type 0x4d"],
    ["FREE object = 1 offset = -8 length = 8"],
    ["WRITE object = 1 type = 23 offset = 0"],
    ["\ttoguid = 7"],
  ])("are refused with what a plain send does not hold: %s", (line) => {
    expect(() => ranges(made(`${line}\n`), query)).toThrow(`the record ${JSON.stringify(line)}`);
  });

  it.each([
    ["of several snapshots", { hdrtype: "2" }, "of kind 2"],
    ["that is raw", { features: "1000000" }, "with the features 1000000"],
    ["that is redacted", { features: "200004" }, "with the features 200004"],
    ["of a filesystem", { type: "2" }, "of a dataset of type 2"],
    ["from another snapshot", { fromguid: "6" }, "from 6 to 7"],
    ["without a guid", { toguid: "" }, 'whose toguid is ""'],
  ])("are refused for a stream %s", (_what, fields, why) => {
    expect(() => ranges(Buffer.from(`${begin(fields)}${end}`), query)).toThrow(why);
  });

  it("are refused when the volume itself goes", () => {
    expect(() => ranges(made("FREEOBJECTS firstobj = 0 numobjs = 32\n"), query)).toThrow("without the volume's data");
  });

  it("are refused beyond 8 PiB, where numbers are not exact", () => {
    expect(() => ranges(made("FREE object = 1 offset = 9007199254740993 length = 512\n"), query)).toThrow("beyond 8 PiB");
  });
});

type Kind = "write" | "free" | "embedded" | "reference" | "compressed" | "none";

const end = "END checksum = 1/2/3/4\nSUMMARY:\n\tTotal records = 0\n";

function begin(fields: Readonly<Record<string, string>> = {}): string {
  const all = { hdrtype: "1", features: "430000", magic: "2f5bacbac", type: "3", flags: "0xc", toguid: "7", fromguid: "5", toname: "tank/a b = c@d", ...fields };
  return `BEGIN record\n${Object.entries(all).map(([name, value]) => `\t${name} = ${value}\n`).join("")}\n`;
}

function made(...records: readonly string[]): Buffer {
  return Buffer.from(`${begin()}${records.join("")}${end}`);
}

/** As zstream 2.1.11 prints it (cmd/zstream/zstream_dump.c). */
function blockRecord(kind: Kind, index: number): string {
  const offset = index * 512;
  const written = (object: number, compressed: number): string =>
    `WRITE object = ${object} type = 23 checksum type = 7 compression type = 0 flags = 0 offset = ${offset} logical_size = 512 compressed_size = ${compressed} payload_size = ${compressed === 0 ? 512 : compressed} props = 0 salt = 00 iv = 00 mac = 00\n`;
  switch (kind) {
    case "write":
      return written(1, 0);
    case "compressed":
      return written(1, 104);
    case "free":
      return `FREE object = 1 offset = ${offset} length = 512\n`;
    case "embedded":
      return `WRITE_EMBEDDED object = 1 offset = ${offset} length = 512 toguid = 7 comp = 15 etype = 0 lsize = 512 psize = 21\n`;
    case "reference":
      return `WRITE_BYREF object = 1 checksum type = 7 props = 0 offset = ${offset} length = 512 toguid = 7 refguid = 7 refobject = 1 refoffset = 0\n`;
    case "none":
      // Another object's records are none of ours.
      return `${written(2, 0)}OBJECT object = 2 type = 24 bonustype = 0 blksz = 512 bonuslen = 0\nSPILL block for object = 2 length = 512 flags = 0\nFREE object = 2 offset = 512 length = -1\n`;
  }
}
