import { invalidField } from "@zfsilo/lib";
import { hasControlCharacter } from "../control-characters.ts";

interface ZfsOption {
  /** Whether `zfs set` can change it on an existing volume. */
  readonly mutable: boolean;
  readonly values: RegExp;
  /** What `values` admits, for people. */
  readonly expected: string;
}

const checksums = "on, fletcher4, sha256, sha512, skein, edonr or blake3";

/**
 * The options a volume may be given; all others are refused, since some make a volume unreachable (`volmode`), lose data
 * (`encryption` without a key at hand) or belong to us (`zfsilo:*`, `volsize`, `refreservation`). zfsprops(7), ZFS 2.1.
 */
export const zfsOptions = {
  compression: {
    mutable: true,
    values: /^(?:on|off|lz4|lzjb|zle|gzip(?:-[1-9])?|zstd(?:-(?:[1-9]|1[0-9]))?|zstd-fast(?:-(?:[1-9]|10|[2-9]0|100|500|1000))?)$/,
    expected: "on, off, lz4, lzjb, zle, gzip[-1..9], zstd[-1..19] or zstd-fast[-N]",
  },
  volblocksize: {
    mutable: false,
    values: /^(?:512|1024|2048|4096|8192|16384|32768|65536|131072)$/,
    expected: "a power of two from 512 to 131072, in bytes",
  },
  sync: { mutable: true, values: /^(?:standard|always|disabled)$/, expected: "standard, always or disabled" },
  logbias: { mutable: true, values: /^(?:latency|throughput)$/, expected: "latency or throughput" },
  primarycache: { mutable: true, values: /^(?:all|none|metadata)$/, expected: "all, none or metadata" },
  secondarycache: { mutable: true, values: /^(?:all|none|metadata)$/, expected: "all, none or metadata" },
  copies: { mutable: true, values: /^[123]$/, expected: "1, 2 or 3" },
  dedup: {
    mutable: true,
    values: /^(?:on|off|verify|(?:sha256|sha512|skein|blake3)(?:,verify)?|edonr,verify)$/,
    expected: "on, off, verify, or a strong checksum with or without ,verify",
  },
  checksum: { mutable: true, values: /^(?:on|fletcher4|sha256|sha512|skein|edonr|blake3)$/, expected: checksums },
} as const satisfies Record<string, ZfsOption>;

export type ZfsOptionName = keyof typeof zfsOptions;
export type ZfsOptions = Readonly<Partial<Record<ZfsOptionName, string>>>;

export function isZfsOptionName(name: string): name is ZfsOptionName {
  return Object.hasOwn(zfsOptions, name);
}

/** Checks names and values against the list. `field` is how the caller's message calls the map. */
export function parseZfsOptions(record: Readonly<Record<string, string>>, field = "zfs_options"): ZfsOptions {
  const options: Partial<Record<ZfsOptionName, string>> = {};
  for (const [name, value] of Object.entries(record)) {
    if (hasControlCharacter(name)) throw invalidField(field, "an option name has a control character");
    const at = `${field}[${JSON.stringify(name.slice(0, 80))}]`;
    if (!isZfsOptionName(name)) {
      throw invalidField(at, "is not a ZFS option that may be set", `Known: ${Object.keys(zfsOptions).join(", ")}.`);
    }
    if (hasControlCharacter(value)) throw invalidField(at, "has a control character");
    const option = zfsOptions[name];
    if (!option.values.test(value)) {
      throw invalidField(at, `has the value ${JSON.stringify(value.slice(0, 80))}`, `Use ${option.expected}.`);
    }
    options[name] = value;
  }
  return options;
}

/** Refuses options that an existing volume cannot change. */
export function requireMutableZfsOptions(options: ZfsOptions, field = "zfs_options"): void {
  for (const name of Object.keys(options)) {
    if (isZfsOptionName(name) && !zfsOptions[name].mutable) {
      throw invalidField(`${field}[${JSON.stringify(name)}]`, "cannot be changed after the volume is made");
    }
  }
}
