import { ok, warning, type HostCheck } from "./check.ts";

/** What tells whether LVM takes up devices of ours. */
export interface LvmFiles {
  readonly installed: boolean;
  readonly conf: string | undefined;
  /** /etc/lvm/lvmlocal.conf, which comes after it. */
  readonly local: string | undefined;
  /** /etc/lvm/devices/system.devices: with it, LVM looks at the devices listed there only. */
  readonly devices: string | undefined;
}

/** One kind of device, by the names that one of them has, and by what the list of devices would call it. */
export interface LvmDevices {
  readonly what: string;
  readonly names: readonly string[];
  readonly listed: RegExp;
  readonly filter: string;
}

/**
 * A volume group that a client makes inside a volume shows on every machine that sees the bytes: on the storage host through the
 * zvol, on a node through the disk. udev then activates it there, and the device is busy for whoever exports, destroys or logs out.
 */
export function lvmCheck(name: string, files: LvmFiles, devices: LvmDevices): HostCheck {
  if (!files.installed) return ok(name, "lvm2 is not installed");
  const how = keptOff(files, devices);
  if (how !== undefined) return ok(name, `${how} keeps LVM off ${devices.what}`);
  return warning(
    name,
    `lvm2 takes up volume groups on ${devices.what}, which keeps them busy`,
    `Put \`global_filter = [ ${devices.filter} ]\` into the section devices of /etc/lvm/lvm.conf, then run \`pvscan --cache\` (docs/hosts.md).`,
  );
}

function keptOff({ conf = "", local = "", devices }: LvmFiles, { names, listed }: LvmDevices): string | undefined {
  const filter = ["global_filter", "filter"].find((key) => {
    const patterns = patternsOf(local, key) ?? patternsOf(conf, key);
    return patterns !== undefined && isRejected(patterns, names);
  });
  if (filter !== undefined) return filter;
  const used = settingOf(local, "use_devicesfile") ?? settingOf(conf, "use_devicesfile") ?? defaultOf(conf, "use_devicesfile");
  return used === "1" && devices !== undefined && !listed.test(uncommented(devices)) ? "the devices file" : undefined;
}

/**
 * As lib/filters/filter-regex.c (lvm2 2.03): of each name the first pattern that matches decides; one name that is accepted is
 * enough to accept the device, else one that is rejected rejects it.
 */
function isRejected(patterns: readonly string[], names: readonly string[]): boolean {
  const verdicts = names.map((name) => patterns.find((pattern) => matches(pattern, name))?.[0]);
  return !verdicts.includes("a") && verdicts.includes("r");
}

/** `r|^/dev/zd|`: accept or reject, and an expression between two of the same character, or between brackets. */
function matches(pattern: string, name: string): boolean {
  try {
    return new RegExp(pattern.slice(2, -1)).test(name);
  } catch {
    return false;
  }
}

function patternsOf(conf: string, key: string): readonly string[] | undefined {
  const value = new RegExp(`(?:^|[\\s/{])${key}\\s*=\\s*(\\[(?:\\s*"(?:[^"\\\\]|\\\\.)*"\\s*,?)*\\s*\\]|"(?:[^"\\\\]|\\\\.)*")`).exec(uncommented(conf))?.[1];
  return value === undefined ? undefined : [...value.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text = ""]) => text.replace(/\\(["\\])/g, "$1"));
}

function settingOf(conf: string, key: string): string | undefined {
  return new RegExp(`(?:^|[\\s/{])${key}\\s*=\\s*(\\d)`).exec(uncommented(conf))?.[1];
}

/** lvm.conf has the default of the build as a comment: `	# use_devicesfile = 1`. */
function defaultOf(conf: string, key: string): string | undefined {
  return new RegExp(`^\\s*#\\s*${key}\\s*=\\s*(\\d)`, "m").exec(conf)?.[1];
}

function uncommented(conf: string): string {
  return conf.replace(/^\s*#.*$/gm, "");
}

/** /dev/zd16 has a link below /dev/zvol, and LVM knows both names. */
export function zvolsOf(parent: string): LvmDevices {
  return {
    what: "zvols",
    names: ["/dev/zd16", `/dev/zvol/${parent}/0123456789abcdef`],
    listed: /\/dev\/(?:zd\d|zvol\/)/,
    filter: '"r|^/dev/zd|", "r|^/dev/zvol/|"',
  };
}

/** The names udev gives a disk of LIO: its identifier is NAA 6001405 and digits of the serial. */
export const lioDisks: LvmDevices = {
  what: "zfsilo's disks",
  names: [
    "/dev/sdb",
    "/dev/disk/by-id/scsi-360014050123456789abcdef0000000000",
    "/dev/disk/by-id/wwn-0x60014050123456789abcdef000000000",
    "/dev/disk/by-id/scsi-SLIO-ORG_IBLOCK_0123456789abcdef",
    "/dev/disk/by-path/ip-10.9.0.2:3260-iscsi-iqn.2026-01.io.zfsilo:0123456789abcdef-lun-0",
  ],
  listed: /6001405|LIO-ORG/,
  filter: '"r|^/dev/disk/by-id/scsi-36001405|", "r|^/dev/disk/by-id/wwn-0x6001405|"',
};
