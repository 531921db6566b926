import { invalidField } from "@zfsilo/lib";
import { hasControlCharacter } from "../control-characters.ts";
import type { FsType } from "../filesystem/types.ts";

/** Options a volume may ask for: none of them weakens the host or hides a failure. mount(8), ext4(5), xfs(5). */
const common = [
  ...["noatime", "relatime", "strictatime", "nodiratime", "lazytime", "nolazytime"],
  ...["nodev", "nosuid", "noexec", "sync", "dirsync", "discard", "nodiscard"],
];
const byType = {
  ext4: [
    ...["noload", "data=ordered", "data=journal", "barrier=1", "errors=remount-ro", "errors=panic", "acl", "user_xattr"],
    ...["journal_checksum", "auto_da_alloc", "delalloc", "nodelalloc", "init_itable=10", "noinit_itable"],
  ],
  xfs: [
    ...["nouuid", "inode64", "largeio", "swalloc", "attr2", "norecovery", "wsync"],
    ...["usrquota", "uquota", "grpquota", "gquota", "prjquota", "pquota", "noquota"],
    ...["logbsize=32k", "logbsize=64k", "logbsize=128k", "logbsize=256k", "logbufs=8"],
  ],
} as const satisfies Record<FsType, readonly string[]>;

/** `rw` and `ro` are not among them: whether a mount is read-only is asked for separately. */
export function parseMountOptions(type: FsType, options: readonly string[], field = "mount_options"): readonly string[] {
  const known: readonly string[] = [...common, ...byType[type]];
  options.forEach((option, index) => {
    const at = `${field}[${index}]`;
    if (hasControlCharacter(option)) throw invalidField(at, "has a control character");
    if (option.includes(",")) throw invalidField(at, "has a comma", "Give each option by itself.");
    if (!known.includes(option)) {
      throw invalidField(
        at,
        `${JSON.stringify(option.slice(0, 80))} is not an option of ${type} that may be set`,
        `Known: ${known.join(", ")}.`,
      );
    }
  });
  return options;
}
