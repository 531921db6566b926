import { iscsiadm } from "../iscsi/iscsiadm.ts";
import type { Program } from "../program.ts";
import { zfs } from "../zfs/zfs.ts";
import { zpool } from "../zfs/zpool.ts";
import { blkid, cat, cmp, dd, sha256sum } from "./block.ts";
import { dumpe2fs, e2fsck, resize2fs, xfsDb, xfsGrowfs, xfsInfo, xfsRepair } from "./filesystem.ts";
import { fsfreeze, systemctl, systemdRun } from "./freeze.ts";
import { interruptedMkfsExt4, interruptedMkfsXfs, mkfsExt4, mkfsXfs } from "./mkfs.ts";
import { mount, umount } from "./mount.ts";
import { stat } from "./stat.ts";
import { date, modprobe, perl, sync, udevadm } from "./system.ts";

/** Every program that is modelled, by the name it is called by. */
export const programs: Readonly<Record<string, Program>> = {
  blkid,
  cat,
  cmp,
  date,
  dd,
  dumpe2fs,
  e2fsck,
  fsfreeze,
  iscsiadm,
  "mkfs.ext4": mkfsExt4,
  "mkfs.xfs": mkfsXfs,
  modprobe,
  mount,
  perl,
  resize2fs,
  sha256sum,
  stat,
  sync,
  systemctl,
  "systemd-run": systemdRun,
  udevadm,
  umount,
  xfs_db: xfsDb,
  xfs_growfs: xfsGrowfs,
  xfs_info: xfsInfo,
  xfs_repair: xfsRepair,
  zfs,
  zpool,
};

/** What they leave when they are killed in the middle. Of the others it is not modelled: they do all or nothing. */
export const interruptedPrograms: Readonly<Record<string, Program>> = {
  "mkfs.ext4": interruptedMkfsExt4,
  "mkfs.xfs": interruptedMkfsXfs,
};
