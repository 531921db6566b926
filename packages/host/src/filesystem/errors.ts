import type { StderrRule } from "../tool.ts";

/** e2fsprogs 1.47.0, xfsprogs 6.1 and util-linux 2.38, as Debian 12 has them. */
export const filesystemFailures: readonly StderrRule[] = [
  { pattern: /is mounted; will not make a filesystem here|contains a mounted filesystem/, reason: "precondition" },
  { pattern: /is apparently in use by the system/, reason: "busy" },
  { pattern: /appears to contain an existing filesystem/, reason: "precondition", hint: "The device is not blank." },
  { pattern: /appears to contain a partition table/, reason: "precondition", hint: "The device is not blank." },
  { pattern: /Not enough space to build proposed filesystem/, reason: "invalid_argument", hint: "The volume is too small." },
  { pattern: /Filesystem must be larger than|size \d+ of data subvolume is too small/, reason: "invalid_argument", hint: "The volume is too small." },
  { pattern: /does not exist and no size was specified/, reason: "not_found" },
  {
    pattern: /Please run 'e2fsck -f/,
    reason: "precondition",
    hint: "Unmount the filesystem and check it with e2fsck -f before growing it.",
  },
  {
    pattern: /unknown option -[a-z]|Invalid filesystem option set|not supported without/,
    reason: "precondition",
    hint: "The mkfs of this host does not know one of the volume's mkfs_options, or not this combination. CheckHost shows its version.",
  },
  {
    pattern: /too many block group descriptors/,
    reason: "precondition",
    hint: "Its blocks are too small to grow that far. Make a new volume of the size you need and copy the files.",
  },
  { pattern: /New size smaller than minimum|shrinking not supported/, reason: "invalid_argument" },
  { pattern: /Bad magic number in super-block/, reason: "precondition", hint: "There is no such filesystem on the device." },
  { pattern: /is not a valid XFS filesystem|bad superblock magic number|unrecognized/i, reason: "precondition" },
  { pattern: /is not a mounted XFS filesystem/, reason: "precondition", hint: "XFS grows only while it is mounted." },
  { pattern: /No such file or directory/, reason: "not_found" },
  { pattern: /Input\/output error/, reason: "unavailable", hint: "The device does not answer: is its session up?" },
];
