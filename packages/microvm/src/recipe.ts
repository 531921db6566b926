import { guestFiles, maskedUnits } from "./guest-files.ts";
import { keyOf } from "./cache.ts";

export const debianRelease = "bookworm";

/** targetcli is a measuring stick: zfsilo itself writes configfs. */
export const packages: readonly string[] = [
  "linux-image-amd64",
  "linux-headers-amd64",
  "zfs-dkms",
  "zfsutils-linux",
  "initramfs-tools",
  "open-iscsi",
  "nvme-cli",
  "targetcli-fb",
  "openssh-server",
  "iproute2",
  "udev",
  "systemd-sysv",
  "e2fsprogs",
  "xfsprogs",
  "kmod",
  "procps",
  "dbus",
  "psmisc",
];

const unwantedPaths: readonly string[] = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*"];

/** Bytes of the sparse root file system. The packages take about 1.2 GiB once the compiler is gone. */
export const rootImageBytes = 3 * 2 ** 30;

export function mmdebstrapCommand(tarPath: string, sources: readonly string[]): [string, ...string[]] {
  return [
    "mmdebstrap",
    "--variant=minbase",
    "--format=tar",
    `--include=${packages.join(",")}`,
    ...unwantedPaths.map((path) => `--dpkgopt=path-exclude=${path}`),
    debianRelease,
    tarPath,
    ...sources,
  ];
}

/**
 * Turns the installed packages in $ROOT into the image $OUT/root.img with its kernel and initramfs. What only compiling
 * the ZFS module needed is dropped. It runs in mount and pid namespaces of its own: nothing stays mounted after it.
 */
export const finishScript = `set -eu
tar -xpf "$PACKAGES" -C "$ROOT" --exclude=./dev/*
tar -xpf "$OVERLAY" -C "$ROOT"
rm -rf "$ROOT"/etc/ssh/ssh_host_* "$ROOT"/etc/hostname "$ROOT"/etc/resolv.conf
mount --rbind /dev "$ROOT/dev"
mount -t proc proc "$ROOT/proc"
chroot "$ROOT" systemctl mask $MASKED
chroot "$ROOT" systemctl enable zfsilo-setup.service iscsid.service ssh.service
chroot "$ROOT" zgenhostid -f 5a46534c
chroot "$ROOT" update-initramfs -c -k all
umount -l "$ROOT/proc" "$ROOT/dev"
cp "$ROOT"/boot/vmlinuz-* "$OUT/vmlinuz"
cp "$ROOT"/boot/initrd.img-* "$OUT/initrd.img"
rm -rf "$ROOT"/boot/* "$ROOT"/usr/src/* "$ROOT"/var/lib/dkms "$ROOT"/usr/lib/gcc "$ROOT"/usr/include \\
  "$ROOT"/usr/lib/linux-kbuild-* "$ROOT"/var/cache/apt "$ROOT"/var/lib/apt/lists "$ROOT"/var/log/* \\
  "$ROOT"/lib/modules/*/build "$ROOT"/lib/modules/*/source
mke2fs -q -t ext4 -L zfsilo -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -d "$ROOT" "$OUT/root.img" "$SIZE_KB"k
chmod 644 "$OUT/vmlinuz" "$OUT/initrd.img" "$OUT/root.img"
`;

/** The slow part, of which nearly all is compiling the ZFS module: a matter of 16 minutes on two busy cores. */
export const packagesKey = keyOf({ debianRelease, packages, unwantedPaths });

/** The quick part on top of it. */
export const imageKey = keyOf({ packagesKey, guestFiles, maskedUnits, rootImageBytes, finishScript });
