import { hostNqn, initiatorName, roles } from "./roles.ts";

export interface GuestFile {
  readonly content: string;
  readonly mode: number;
}

/** Units that cost boot time under emulation, grab devices, or restore exports behind our back. */
export const maskedUnits: readonly string[] = [
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "e2scrub_reap.service",
  "fstrim.timer",
  "getty@tty1.service",
  "serial-getty@ttyS0.service",
  "systemd-logind.service",
  "systemd-random-seed.service",
  "nvmf-autoconnect.service",
  "nvmefc-boot-connections.service",
  "open-iscsi.service",
  "rtslib-fb-targetctl.service",
  "zfs-import-cache.service",
  "zfs-import-scan.service",
  "zfs-load-module.service",
  "zfs-mount.service",
  "zfs-share.service",
  "zfs-volume-wait.service",
  "zfs-zed.service",
  "systemd-udev-settle.service",
];

/** In the initramfs (MODULES=list): what it takes to find and mount the root disk, and the network cards. */
const initramfsModules = ["virtio_pci", "virtio_blk", "virtio_net", "ext4", "crc32c_generic"];

/**
 * What the machine does before ssh answers. Addresses are set by hand and not by systemd-networkd, and the pool is
 * imported here and not by the units of zfsutils: those wait for udev to settle, which takes most of a boot under
 * emulation. Two names on one modprobe line would make the second a module parameter.
 */
const setupScript = `#!/bin/sh
set -eu
role=$(hostname)
case "$role" in
  give) address=${roles.give.storageAddress} ;;
  take) address=${roles.take.storageAddress} ;;
  *) echo "unknown role $role" >&2; exit 1 ;;
esac
mkdir -p /run/zfsilo
install -m 600 "/etc/ssh/zfsilo/$role" /run/zfsilo/host-key

for card in /sys/class/net/eth*; do
  name=\${card##*/}
  ip link set "$name" up
  case "$(cat "$card/address")" in
    ${roles.give.loginMac}|${roles.take.loginMac}) ip address replace 10.0.2.15/24 dev "$name" ;;
    ${roles.give.storageMac}|${roles.take.storageMac}) ip address replace "$address/24" dev "$name" ;;
  esac
done

modprobe configfs
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config

if [ "$role" = give ]; then
  modprobe zfs
  modprobe target_core_mod
  modprobe target_core_iblock
  modprobe iscsi_target_mod
  modprobe nvmet
  modprobe nvmet-tcp
  if [ -e /etc/zfs/zpool.cache ]; then zpool import -c /etc/zfs/zpool.cache -aN; fi
else
  modprobe iscsi_tcp
  modprobe nvme-tcp
  modprobe ext4
  modprobe xfs
fi
touch /run/zfsilo/ready
`;

const setupUnit = `[Unit]
Description=Addresses, kernel modules and pool of a zfsilo machine
After=systemd-tmpfiles-setup.service systemd-udevd.service
Before=ssh.service iscsid.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/zfsilo-setup
TimeoutStartSec=600
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
`;

/** UsePAM off and no logind: a login costs seconds under emulation. The host key differs by role, chosen at boot. */
const sshdConfig = `HostKey /run/zfsilo/host-key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
`;

/** Everything laid over the installed packages but keys, by absolute path in the guest. */
export const guestFiles: Readonly<Record<string, GuestFile>> = {
  "/usr/local/sbin/zfsilo-setup": { content: setupScript, mode: 0o755 },
  "/etc/systemd/system/zfsilo-setup.service": { content: setupUnit, mode: 0o644 },
  "/etc/systemd/system/iscsid.service.d/role.conf": { content: "[Unit]\nConditionHost=take\n", mode: 0o644 },
  "/etc/systemd/journald.conf.d/zfsilo.conf": { content: "[Journal]\nStorage=volatile\n", mode: 0o644 },
  "/etc/ssh/sshd_config.d/zfsilo.conf": { content: sshdConfig, mode: 0o644 },
  "/etc/initramfs-tools/conf.d/zfsilo": { content: "MODULES=list\nCOMPRESS=gzip\n", mode: 0o644 },
  "/etc/initramfs-tools/modules": { content: `${initramfsModules.join("\n")}\n`, mode: 0o644 },
  "/etc/iscsi/initiatorname.iscsi": { content: `InitiatorName=${initiatorName}\n`, mode: 0o600 },
  "/etc/nvme/hostnqn": { content: `${hostNqn}\n`, mode: 0o644 },
  "/etc/nvme/hostid": { content: "5a46534c-0000-4000-8000-000000000003\n", mode: 0o644 },
  "/etc/hosts": {
    content: `127.0.0.1 localhost\n${roles.give.storageAddress} give\n${roles.take.storageAddress} take\n`,
    mode: 0o644,
  },
  "/etc/fstab": { content: "", mode: 0o644 },
};
