/** The two machines: `give` holds the pool and exports volumes, `take` connects to them. */
export const roleNames = ["give", "take"] as const;
export type RoleName = (typeof roleNames)[number];

export interface Role {
  /** On the network that only these two share. */
  readonly storageAddress: string;
  /** QEMU's 52:54:00 prefix. Both instances of a pair keep theirs: no two pairs share a network. */
  readonly loginMac: string;
  readonly storageMac: string;
  /** Loopback port of its ssh in the pair that people use by hand. */
  readonly usualSshPort: number;
  readonly dataDiskBytes: number | undefined;
}

export const roles: Readonly<Record<RoleName, Role>> = {
  give: {
    storageAddress: "10.9.0.2",
    loginMac: "52:54:00:5a:01:02",
    storageMac: "52:54:00:5a:09:02",
    usualSshPort: 9000,
    dataDiskBytes: 8 * 2 ** 30,
  },
  take: {
    storageAddress: "10.9.0.3",
    loginMac: "52:54:00:5a:01:03",
    storageMac: "52:54:00:5a:09:03",
    usualSshPort: 9100,
    dataDiskBytes: undefined,
  },
};

export const poolName = "tank";
export const initiatorName = "iqn.2026-01.io.zfsilo.vm:take";
export const hostNqn = "nqn.2026-01.io.zfsilo.vm:take";
