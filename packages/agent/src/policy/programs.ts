import type { Shape } from "./shape.ts";

/** An operand that is a path to look at: it must be a device, or lie below an allowed root. */
export type PathRule = "device" | "below-roots" | "device-or-below-roots";

export interface Rule extends Shape {
  /** For operands by index. Negative ones count from the end. */
  readonly paths?: Readonly<Record<number, PathRule>>;
}

const component = "[A-Za-z0-9_.:][A-Za-z0-9_.:-]*";
const datasetText = `[A-Za-z][A-Za-z0-9_.:-]*(?:/${component})*`;
const dataset = new RegExp(`^${datasetText}$`);
const snapshotText = `${datasetText}@${component}`;
const snapshot = new RegExp(`^${snapshotText}$`);
const datasetOrSnapshot = new RegExp(`^${datasetText}(?:@${component})?$`);
const pool = /^[A-Za-z][A-Za-z0-9_.:-]*$/;
/** `mountpoint` of a dataset could put it over /etc, and some others run or hide things: only what volumes need. */
const assignment =
  /^(?:mountpoint=none|canmount=off|encryption=[a-z0-9-]+|keyformat=(?:raw|hex)|keylocation=(?:prompt|file:\/\/\/[^\0]+)|zfsilo:[a-z-]+=[^\0]{0,1024}|(?:volsize|volblocksize|reservation|refreservation|quota|refquota|compression|sync|logbias|primarycache|secondarycache|copies|dedup|checksum|snapdev)=[A-Za-z0-9_.,-]+)$/;
/** Of ours, and never inherited over a property of ZFS. */
const ownMark = /^zfsilo:[a-z-]+$/;
const names = /^[a-z0-9_:,@#-]+$/i;
const number = /^\d+$/;
const tag = /^[A-Za-z0-9_.:-]+$/;
const iqn = /^(?:iqn|eui|naa)\.[a-z0-9.:-]{1,220}$/;
const portal = /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.%a-z]+\]):\d{1,5}$/i;
const path = /^\/[^\0]*$/;
const uuid = /^[0-9a-f-]{36}$/i;
const ext4Features = /^\^?(?:64bit|metadata_csum|orphan_file)(?:,\^?(?:64bit|metadata_csum|orphan_file))*$/;
const listing = { "-o": names, "-t": names, "-d": number } as const;

/**
 * `systemd-run` runs anything: this is the one command line of it that there is, a freeze that thaws by itself. Its
 * arguments joined by newlines; the path in it is the same each time.
 */
export const freeze =
  /^--collect\n--unit=zfsilo-freeze-[0-9a-f]{16}\n--property=Type=exec\n--property=AssertPathIsMountPoint=(?<path>\/[A-Za-z0-9_.:@,=+~/-]+)\n--property=TimeoutStartSec=\d+\n--property=TimeoutStopSec=\d+\n--property=ExecStartPre=fsfreeze --freeze \k<path>\n--property=ExecStopPost=-fsfreeze --unfreeze \k<path>\nsleep\n\d+$/;

/**
 * What a control plane may run: the commands of packages/host/COMMANDS.md, and no option or subcommand beyond them. So none
 * that forces, recurses or renames, changes a pool, mounts a dataset or shares it, and no interpreter.
 */
export const programs: Readonly<Record<string, readonly Rule[]>> = {
  zfs: [
    { words: ["version"] },
    { words: ["get"], flags: ["-Hp"], options: listing, operands: [names], rest: datasetOrSnapshot },
    { words: ["create"], flags: ["-s"], options: { "-V": number, "-o": assignment }, operands: [dataset] },
    { words: ["set"], operands: [assignment], rest: new RegExp(`${assignment.source}|${dataset.source}`) },
    { words: ["inherit"], flags: ["-S"], required: ["-S"], operands: [ownMark, dataset] },
    { words: ["destroy"], flags: ["-d"], operands: [datasetOrSnapshot] },
    { words: ["snapshot"], options: { "-o": assignment }, operands: [snapshot], rest: snapshot },
    { words: ["clone"], options: { "-o": assignment }, operands: [snapshot, dataset] },
    { words: ["promote"], operands: [dataset] },
    { words: ["hold"], operands: [tag, snapshot], rest: snapshot },
    { words: ["release"], operands: [tag, snapshot], rest: snapshot },
    { words: ["holds"], flags: ["-H"], operands: [snapshot], rest: snapshot },
    { words: ["load-key"], flags: ["-n"], operands: [dataset] },
    { words: ["unload-key"], operands: [dataset] },
    { words: ["rollback"], operands: [snapshot] },
    { words: ["send"], flags: ["-nP"], options: { "-i": snapshot }, operands: [snapshot] },
    { words: ["receive"], options: { "-o": assignment }, operands: [dataset] },
  ],
  // Reads standard input: a file, as an operand, is none of its business here.
  zstream: [{ words: ["dump"], flags: ["-Cv"], required: ["-Cv"] }],
  zpool: [
    { words: ["list"], flags: ["-Hp"], options: { "-o": names }, rest: pool },
    { words: ["status"], flags: ["-p"], operands: [pool] },
  ],
  iscsiadm: [
    { flags: ["--version"], required: ["--version"] },
    { flags: ["--login"], options: { "-m": /^node$/, "-T": iqn, "-p": portal, "-I": tag }, required: ["-m", "-T", "-p", "--login"] },
    { flags: ["--logout"], options: { "-m": /^node$/, "-T": iqn, "-p": portal, "-I": tag }, required: ["-m", "-T", "--logout"] },
    { flags: ["--rescan"], options: { "-m": /^session$/, "-r": number }, required: ["-m", "-r", "--rescan"] },
  ],
  udevadm: [
    { words: ["settle"], flags: ["--timeout=5"] },
    { words: ["trigger"], flags: ["--action=change"], operands: [/^\/dev\/zd\d+$/], rest: /^\/dev\/zd\d+$/ },
  ],
  modprobe: [{ operands: [/^(?:target_core_mod|target_core_iblock|iscsi_target_mod|iscsi_tcp|zfs|xfs|ext4)$/] }],
  blkid: [{ flags: ["-p"], options: { "-o": /^export$/ }, required: ["-p", "-o"], operands: [path], paths: { 0: "device" } }],
  cmp: [{ options: { "-n": number }, operands: [path, /^\/dev\/zero$/], paths: { 0: "device" } }],
  // The start of a volume of this host, and of nothing else.
  dd: [{ operands: [/^if=\/dev\/zero$/, new RegExp(`^of=/dev/zvol/${datasetText}$`), /^bs=1048576$/, /^count=1$/, /^conv=nocreat,fsync$/] }],
  "mkfs.ext4": [
    { flags: ["-V"], required: ["-V"] },
    {
      flags: ["-q"],
      options: { "-U": uuid, "-E": /^nodiscard,lazy_itable_init=1(?:,resize=\d+)?$/, "-O": ext4Features, "-b": number, "-i": number, "-I": number, "-m": number, "-N": number },
      required: ["-q", "-U"],
      operands: [path],
      paths: { 0: "device" },
    },
  ],
  "mkfs.xfs": [
    { flags: ["-V"], required: ["-V"] },
    {
      flags: ["-q", "-K"],
      options: { "-m": new RegExp(`^(?:uuid=${uuid.source.slice(1, -1)}|(?:bigtime|inobtcount|reflink)=[01])$`, "i"), "-b": /^size=\d+$/, "-i": /^(?:size=\d+|nrext64=[01])$/, "-s": /^size=\d+$/ },
      required: ["-q", "-m"],
      operands: [path],
      paths: { 0: "device" },
    },
  ],
  e2fsck: [
    { flags: ["-p"], required: ["-p"], operands: [path], paths: { 0: "device" } },
    { flags: ["-n", "-f"], required: ["-n"], operands: [path], paths: { 0: "device" } },
  ],
  xfs_db: [{ flags: ["-r"], options: { "-c": /^(?:sb 0|print inprogress)$/ }, required: ["-r", "-c"], operands: [path], paths: { 0: "device" } }],
  xfs_repair: [{ flags: ["-n"], required: ["-n"], operands: [path], paths: { 0: "device" } }],
  resize2fs: [{ operands: [path], paths: { 0: "device" } }],
  dumpe2fs: [{ flags: ["-h"], required: ["-h"], operands: [path], paths: { 0: "device" } }],
  xfs_growfs: [{ operands: [path], paths: { 0: "below-roots" } }],
  xfs_info: [{ operands: [path], paths: { 0: "device-or-below-roots" } }],
  stat: [{ flags: ["-f"], options: { "-c": /^[%A-Za-z/]+$/ }, required: ["-f", "-c"], operands: [path], paths: { 0: "below-roots" } }],
  fsfreeze: [{ flags: ["--unfreeze"], required: ["--unfreeze"], operands: [path], paths: { 0: "below-roots" } }],
  systemctl: [{ words: ["stop"], operands: [/^zfsilo-freeze-[0-9a-f]{16}\.service$/] }],
  mount: [
    {
      options: { "-t": /^(?:ext4|xfs)$/, "-o": /^r[wo](?:,[a-z0-9_=-]+)*$/ },
      required: ["-t", "-o"],
      operands: [path, path],
      paths: { 0: "device", 1: "below-roots" },
    },
    { flags: ["--bind"], required: ["--bind"], operands: [path, path], paths: { 0: "device-or-below-roots", 1: "below-roots" } },
    { options: { "-o": /^remount,bind,ro$/ }, required: ["-o"], operands: [path], paths: { 0: "below-roots" } },
  ],
  umount: [{ operands: [path], paths: { 0: "below-roots" } }],
  date: [{ operands: [/^\+%s\.%N$/] }],
  perl: [{ flags: ["-v"], required: ["-v"] }],
};
