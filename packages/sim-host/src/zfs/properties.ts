/** The native properties that are modelled, and what `zfs set` and `zfs create -o` say to a wrong one (ZFS 2.1.11). */
export type DatasetKind = "filesystem" | "volume" | "snapshot";

interface PropertyRule {
  readonly on: readonly DatasetKind[];
  /** computed: never set. creation: only at creation. */
  readonly access: "computed" | "creation" | "set";
  /** Shown when nothing is set; absent for those that are computed. */
  readonly initial?: string;
  /** Taken from the parent when not set here. */
  readonly inherits?: boolean;
  readonly values?: readonly string[];
  /** As `must be one of` prints it, where that is shorter than the values. */
  readonly shownValues?: string;
  readonly numeric?: boolean;
}

const all: readonly DatasetKind[] = ["filesystem", "volume", "snapshot"];
const live: readonly DatasetKind[] = ["filesystem", "volume"];
const volume: readonly DatasetKind[] = ["volume"];
const filesystem: readonly DatasetKind[] = ["filesystem"];

const computed = (on: readonly DatasetKind[]): PropertyRule => ({ on, access: "computed" });
const choice = (on: readonly DatasetKind[], values: readonly string[], initial = values[0] ?? ""): PropertyRule => ({
  on,
  access: "set",
  initial,
  inherits: true,
  values,
});
const bytes = (on: readonly DatasetKind[], initial = "0"): PropertyRule => ({ on, access: "set", initial, numeric: true });
const onOff = (on: readonly DatasetKind[], initial: "on" | "off"): PropertyRule => choice(on, ["on", "off"], initial);

const gzip = Array.from({ length: 9 }, (_, i) => `gzip-${i + 1}`);
const zstd = Array.from({ length: 19 }, (_, i) => `zstd-${i + 1}`);
const fast = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 500, 1000].map((n) => `zstd-fast-${n}`);
const sums = ["on", "off", "fletcher2", "fletcher4", "sha256", "noparity", "sha512", "skein", "edonr"];

const rules: Readonly<Record<string, PropertyRule>> = {
  name: computed(all),
  type: computed(all),
  creation: computed(all),
  guid: computed(all),
  createtxg: computed(all),
  used: computed(all),
  available: computed(live),
  referenced: computed(all),
  logicalused: computed(live),
  logicalreferenced: computed(all),
  compressratio: computed(all),
  refcompressratio: computed(all),
  written: computed(all),
  usedbydataset: computed(live),
  usedbysnapshots: computed(live),
  usedbyrefreservation: computed(live),
  usedbychildren: computed(live),
  origin: computed(live),
  clones: computed(["snapshot"]),
  userrefs: computed(["snapshot"]),
  defer_destroy: computed(["snapshot"]),
  mounted: computed(filesystem),
  encryption: {
    on: live,
    access: "creation",
    initial: "off",
    values: ["on", "off", "aes-128-ccm", "aes-192-ccm", "aes-256-ccm", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"],
  },
  keyformat: { on: live, access: "creation", initial: "none" },
  keylocation: { on: live, access: "creation", initial: "none" },
  keystatus: computed(live),
  encryptionroot: computed(live),
  volsize: { on: ["volume", "snapshot"], access: "set", numeric: true },
  volblocksize: { on: volume, access: "creation", initial: "8192", numeric: true },
  refreservation: bytes(live),
  reservation: bytes(live),
  quota: bytes(filesystem),
  refquota: bytes(filesystem),
  recordsize: { on: filesystem, access: "set", initial: "131072", inherits: true, numeric: true },
  compression: {
    ...choice(live, ["on", "off", "lzjb", "gzip", ...gzip, "zle", "lz4", "zstd", ...zstd, "zstd-fast", ...fast], "off"),
    shownValues:
      "on | off | lzjb | gzip | gzip-[1-9] | zle | lz4 | zstd | zstd-[1-19] | zstd-fast | zstd-fast-[1-10,20,30,40,50,60,70,80,90,100,500,1000]",
  },
  checksum: choice(live, sums, "on"),
  copies: choice(live, ["1", "2", "3"]),
  dedup: choice(live, ["on", "off", "verify", "sha256", "sha256,verify", "sha512", "sha512,verify", "skein", "skein,verify"], "off"),
  logbias: choice(live, ["latency", "throughput"]),
  primarycache: choice(live, ["all", "none", "metadata"]),
  secondarycache: choice(live, ["all", "none", "metadata"]),
  sync: choice(live, ["standard", "always", "disabled"]),
  redundant_metadata: choice(live, ["all", "most"]),
  readonly: onOff(live, "off"),
  snapdev: choice(live, ["hidden", "visible"]),
  volmode: choice(volume, ["default", "full", "geom", "dev", "none"]),
  snapdir: choice(filesystem, ["hidden", "visible"]),
  mountpoint: { on: filesystem, access: "set", inherits: true },
  canmount: { on: filesystem, access: "set", initial: "on", values: ["on", "off", "noauto"] },
  atime: onOff(filesystem, "on"),
  relatime: onOff(filesystem, "off"),
  exec: onOff(filesystem, "on"),
  setuid: onOff(filesystem, "on"),
  devices: onOff(filesystem, "on"),
  xattr: choice(filesystem, ["on", "off", "dir", "sa"]),
  acltype: choice(filesystem, ["off", "nfsv4", "posix"]),
};

/** Short names that zfs(8) takes on the command line. */
const aliases: Readonly<Record<string, string>> = {
  avail: "available",
  refer: "referenced",
  volsz: "volsize",
  volblock: "volblocksize",
  refreserv: "refreservation",
  reserv: "reservation",
  compress: "compression",
};

export const nativeNames: readonly string[] = Object.keys(rules).filter((name) => name !== "name");

export function canonicalName(name: string): string {
  return aliases[name] ?? name;
}

export function ruleOf(name: string): PropertyRule | undefined {
  return Object.hasOwn(rules, name) ? rules[name] : undefined;
}

/** User properties hold a colon; their names are 1 to 255 of these characters (zfsprops(7)). */
export function isUserProperty(name: string): boolean {
  return /^[a-z0-9:+._-]{1,255}$/.test(name) && name.includes(":") && !name.startsWith("-");
}

export function isKnownProperty(name: string): boolean {
  return isUserProperty(name) || ruleOf(name) !== undefined;
}
