import { invalidField } from "@zfsilo/lib";
import { hasControlCharacter } from "../control-characters.ts";
import type { FsType } from "./types.ts";

interface MkfsOption {
  readonly values: RegExp;
  readonly expected: string;
  readonly argv: (value: string) => readonly string[];
}

/** A feature that kernels or tools of some nodes do not know. */
const feature = (argv: (value: string) => readonly string[]): MkfsOption => ({ values: /^[01]$/, expected: "0 or 1", argv });
const ext4Feature = (name: string): MkfsOption => feature((v) => ["-O", v === "0" ? `^${name}` : name]);
const xfsMeta = (name: string): MkfsOption => feature((v) => ["-m", `${name}=${v}`]);

const powerOfTwo = (low: number, high: number): RegExp => {
  const values: number[] = [];
  for (let value = low; value <= high; value *= 2) values.push(value);
  return new RegExp(`^(?:${values.join("|")})$`);
};

/** What a volume may ask of mkfs, by names of our own; mke2fs(8), mkfs.xfs(8). Anything that forces or discards is not here. */
export const mkfsOptions = {
  ext4: {
    block_size: { values: powerOfTwo(1024, 4096), expected: "1024, 2048 or 4096", argv: (v) => ["-b", v] },
    bytes_per_inode: { values: /^[1-9]\d{3,7}$/, expected: "1000 to 99999999", argv: (v) => ["-i", v] },
    inode_size: { values: powerOfTwo(128, 4096), expected: "a power of two from 128 to 4096", argv: (v) => ["-I", v] },
    inodes: { values: /^[1-9]\d{0,9}$/, expected: "a count", argv: (v) => ["-N", v] },
    reserved_percent: { values: /^(?:[0-9]|[1-4]\d|50)$/, expected: "0 to 50", argv: (v) => ["-m", v] },
    "64bit": ext4Feature("64bit"),
    metadata_csum: ext4Feature("metadata_csum"),
    orphan_file: ext4Feature("orphan_file"),
  },
  xfs: {
    block_size: { values: powerOfTwo(1024, 4096), expected: "1024, 2048 or 4096", argv: (v) => ["-b", `size=${v}`] },
    inode_size: { values: powerOfTwo(256, 2048), expected: "a power of two from 256 to 2048", argv: (v) => ["-i", `size=${v}`] },
    sector_size: { values: powerOfTwo(512, 4096), expected: "a power of two from 512 to 4096", argv: (v) => ["-s", `size=${v}`] },
    bigtime: xfsMeta("bigtime"),
    inobtcount: xfsMeta("inobtcount"),
    nrext64: feature((v) => ["-i", `nrext64=${v}`]),
    reflink: xfsMeta("reflink"),
  },
} as const satisfies Record<FsType, Record<string, MkfsOption>>;

export type MkfsOptions = Readonly<Record<string, string>>;

/** Checks names and values for this kind of filesystem. */
export function parseMkfsOptions(
  type: FsType,
  record: Readonly<Record<string, string>>,
  field = "mkfs_options",
): MkfsOptions {
  const known: Readonly<Record<string, MkfsOption>> = mkfsOptions[type];
  for (const [name, value] of Object.entries(record)) {
    if (hasControlCharacter(name) || hasControlCharacter(value)) throw invalidField(field, "has a control character");
    const at = `${field}[${JSON.stringify(name.slice(0, 80))}]`;
    const option = Object.hasOwn(known, name) ? known[name] : undefined;
    if (option === undefined) {
      throw invalidField(at, `is not an option of mkfs.${type} that may be set`, `Known: ${Object.keys(known).join(", ")}.`);
    }
    if (!option.values.test(value)) throw invalidField(at, "has a value out of range", `Use ${option.expected}.`);
  }
  return record;
}

/** In order of their names. Of several -O mkfs.ext4 may take the last one alone: they are one. */
export function mkfsArguments(type: FsType, options: MkfsOptions): string[] {
  const known: Readonly<Record<string, MkfsOption>> = mkfsOptions[type];
  const pairs = Object.keys(parseMkfsOptions(type, options))
    .sort()
    .map((name) => known[name]?.argv(options[name] ?? "") ?? []);
  const features = pairs.filter(([flag]) => flag === "-O").map(([, value]) => value);
  const others = pairs.filter(([flag]) => flag !== "-O").flat();
  return features.length === 0 ? others : ["-O", features.join(","), ...others];
}
