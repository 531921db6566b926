import type { Filter } from "../byte-programs.ts";
import { UnmodelledError } from "../failure.ts";
import { parseOptions } from "../program.ts";

const recordBytes = 312;
/** What the text of this many records is given out in: zstream's own output is buffered as well. */
const recordsInPiece = 64;
const zeros = (bytes: number): string => "00".repeat(bytes);

/** `zstream dump -Cv` of ZFS 2.1.11 for the records that the simulated `zfs send` writes (send.ts), which are all of a plain volume. */
export const zstreamDump: Filter = (args, input) => {
  const { flags, rest } = parseOptions("zstream dump", args, { flags: ["-C", "-v"] });
  if (!flags.has("-C") || !flags.has("-v") || rest.length > 0) throw new UnmodelledError(`zstream dump ${args.join(" ")}`);
  return dump(input);
};

function* dump(input: Iterable<Uint8Array>): Generator<Uint8Array> {
  const counts = new Map<string, { records: number; bytes: number }>();
  let text = "";
  let records = 0;
  for (const { header, payloadBytes } of recordsOf(input)) {
    const [kind, line] = shown(header);
    const count = counts.get(kind) ?? { records: 0, bytes: 0 };
    counts.set(kind, { records: count.records + 1, bytes: count.bytes + payloadBytes });
    text += line;
    records += 1;
    if (records % recordsInPiece !== 0) continue;
    yield Buffer.from(text, "latin1");
    text = "";
  }
  yield Buffer.from(text + summary(counts, records), "latin1");
}

function* recordsOf(input: Iterable<Uint8Array>): Generator<{ header: Buffer; payloadBytes: number }> {
  let waiting = Buffer.alloc(0);
  for (const piece of input) {
    waiting = Buffer.concat([waiting, piece]);
    while (waiting.length >= recordBytes) {
      const payloadBytes = waiting.readUInt32LE(0) === 3 ? Number(waiting.readBigUInt64LE(32)) : 0;
      if (waiting.length < recordBytes + payloadBytes) break;
      yield { header: waiting.subarray(0, recordBytes), payloadBytes };
      waiting = waiting.subarray(recordBytes + payloadBytes);
    }
  }
}

function shown(header: Buffer): [kind: string, text: string] {
  const u32 = (at: number): number => header.readUInt32LE(at);
  const u64 = (at: number): bigint => header.readBigUInt64LE(at);
  const hex = (at: number): string => u64(at).toString(16);
  const type = u32(0);
  switch (type) {
    case 0: {
      const name = header.toString("utf8", 56);
      const fields = ["hdrtype = 1", "features = 0", `magic = ${hex(8)}`, `creation_time = ${hex(24)}`, `type = ${u32(32)}`, "flags = 0xc", `toguid = ${hex(40)}`, `fromguid = ${hex(48)}`, `toname = ${name.slice(0, name.indexOf("\0"))}`, "payloadlen = 0"];
      return ["BEGIN", `BEGIN record\n${fields.map((field) => `\t${field}\n`).join("")}\n`];
    }
    case 1:
      return [
        "OBJECT",
        `OBJECT object = ${u64(8)} type = ${u32(16)} bonustype = 0 blksz = ${u32(24)} bonuslen = 0 dn_slots = 1 raw_bonuslen = 0 flags = 0 maxblkid = 0 indblkshift = 0 nlevels = 0 nblkptr = 0\n`,
      ];
    case 3:
      return [
        "WRITE",
        `WRITE object = ${u64(8)} type = 23 checksum type = 7 compression type = 0 flags = 0 offset = ${u64(24)} logical_size = ${u64(32)} compressed_size = 0 payload_size = ${u64(32)} props = 2000f000f salt = ${zeros(8)} iv = ${zeros(12)} mac = ${zeros(16)}\n`,
      ];
    case 4:
      return ["FREE", `FREE object = ${u64(8)} offset = ${u64(16)} length = ${BigInt.asIntN(64, u64(24))}\n`];
    case 5:
      return ["END", "END checksum = 0/0/0/0\n"];
    default:
      throw new UnmodelledError(`zstream dump of a record of type ${type}`);
  }
}

function summary(counts: ReadonlyMap<string, { records: number; bytes: number }>, records: number): string {
  const kinds = ["BEGIN", "END", "OBJECT", "FREEOBJECTS", "WRITE", "WRITE_BYREF", "WRITE_EMBEDDED", "FREE", "SPILL"];
  const bytes = [...counts.values()].reduce((sum, count) => sum + count.bytes, 0);
  const headers = records * recordBytes;
  const sized = (name: string, size: number): string => `Total ${name} = ${size} (0x${size.toString(16)})`;
  const lines = [
    ...kinds.map((kind) => `Total DRR_${kind} records = ${counts.get(kind)?.records ?? 0} (${counts.get(kind)?.bytes ?? 0} bytes)`),
    `Total records = ${records}`,
    sized("payload size", bytes),
    sized("header overhead", headers),
    sized("stream length", headers + bytes),
  ];
  return `SUMMARY:\n${lines.map((line) => `\t${line}\n`).join("")}`;
}
