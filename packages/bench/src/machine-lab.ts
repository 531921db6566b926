import { SshExecutor, type CallOptions } from "@zfsilo/command";
import {
  BlockDevices,
  childOf,
  Iscsi,
  LioTarget,
  parseDatasetName,
  parseIqn,
  parsePortal,
  Zfs,
  zvolPath,
  type ExportSpec,
} from "@zfsilo/host";
import { bytes, newVolumeHandle } from "@zfsilo/lib";
import { poolName, type Machine, type Machines } from "@zfsilo/microvm";

/** Give and take as zfsilo sees them: over one kept ssh connection each. */
export class MachineLab implements AsyncDisposable {
  readonly give: SshExecutor;
  readonly take: SshExecutor;
  readonly zfs: Zfs;
  readonly lio: LioTarget;
  readonly iscsi: Iscsi;
  readonly disks: BlockDevices;
  readonly o: CallOptions;
  readonly #zvols: BlockDevices;
  readonly #address: string;

  constructor({ give, take }: Machines, signal: AbortSignal) {
    this.give = executor(give);
    this.take = executor(take);
    this.o = { signal };
    this.zfs = new Zfs(this.give);
    this.lio = new LioTarget(this.give);
    this.iscsi = new Iscsi(this.take);
    this.disks = new BlockDevices(this.take, this.iscsi);
    this.#zvols = new BlockDevices(this.give, new Iscsi(this.give));
    this.#address = give.storageAddress;
  }

  /** A zvol with its device, and how it is to be exported. */
  async volume(): Promise<ExportSpec> {
    const handle = newVolumeHandle();
    const dataset = childOf(parseDatasetName(poolName), `bench-${handle}`);
    const userProperties = { "zfsilo:volume": `vol_${handle}`, "zfsilo:cluster": "bench" } as const;
    await this.zfs.createVolume({ dataset, sizeBytes: bytes(64n << 20n), sparse: true, options: {}, userProperties }, this.o);
    await this.#zvols.awaitZvolDevice(dataset, this.o);
    return {
      handle,
      target: parseIqn(`iqn.2026-01.io.zfsilo.bench:${handle}`),
      devicePath: zvolPath(dataset),
      portals: [parsePortal({ address: this.#address, port: 3260 })],
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.give.close(), this.take.close()]);
  }
}

/** The two machines as the configuration of a control plane. */
export function hostsOf({ give, take }: Machines): readonly object[] {
  const ssh = ({ ssh: { host, port, user, privateKeyPath, knownHostsPath } }: Machine): object => ({
    address: host,
    port,
    user,
    privateKeyFile: privateKeyPath,
    knownHostsFile: knownHostsPath,
  });
  return [
    { id: "hst_give", roles: ["target"], ssh: ssh(give), pools: [{ name: poolName }], portals: [{ address: give.storageAddress }] },
    { id: "hst_take", roles: ["initiator"], ssh: ssh(take) },
  ];
}

function executor({ name, ssh }: Machine): SshExecutor {
  return new SshExecutor(name, {
    address: ssh.host,
    port: ssh.port,
    user: ssh.user,
    privateKeyFile: ssh.privateKeyPath,
    knownHostsFile: ssh.knownHostsPath,
  });
}
