import { roles, type RoleName } from "./roles.ts";
import { keyOf } from "./cache.ts";

export type Acceleration = "kvm" | "tcg";

export interface VmPlan {
  readonly role: RoleName;
  readonly acceleration: Acceleration;
  readonly cpus: number;
  readonly kernel: string;
  readonly initrd: string;
  readonly sshPort: number;
  /** Saved state to start from; without it the machine boots. */
  readonly loadState?: string;
}

/** Files of a machine, by name inside its instance's directory, which is QEMU's working directory: socket paths are short. */
export const vmFiles = {
  rootDisk: (role: RoleName) => `${role}-root.qcow2`,
  dataDisk: (role: RoleName) => `${role}-data.qcow2`,
  console: (role: RoleName) => `${role}.console`,
  qemuLog: (role: RoleName) => `${role}.qemu.log`,
  monitor: (role: RoleName) => `${role}.qmp`,
  storageSocket: (role: RoleName) => `${role}.net`,
} as const;

/** Id of the network card on the storage network, for set_link. */
export const storageNetdev = "storage";
export const savedStateName = "ready";

const memoryMiB = 1536;

/**
 * QEMU's argv. A saved machine is restored only by a command line with the same devices at the same places; ports, paths
 * and sockets may differ.
 */
export function qemuCommand(plan: VmPlan): [string, ...string[]] {
  const role = roles[plan.role];
  const peer: RoleName = plan.role === "give" ? "take" : "give";
  return [
    "qemu-system-x86_64",
    ...["-name", plan.role],
    ...machineArguments(plan),
    ...["-kernel", plan.kernel, "-initrd", plan.initrd, "-append", kernelCommandLine(plan.role)],
    ...["-serial", `file:${vmFiles.console(plan.role)}`],
    ...["-qmp", `unix:${vmFiles.monitor(plan.role)},server=on,wait=off`],
    ...disk("root", vmFiles.rootDisk(plan.role), 4),
    ...(role.dataDiskBytes === undefined ? [] : disk("data", vmFiles.dataDisk(plan.role), 5)),
    // restrict: the guest reaches nothing of this machine or beyond; only the forwarded port leads in.
    ...["-netdev", `user,id=login,restrict=on,hostfwd=tcp:127.0.0.1:${plan.sshPort}-:22`],
    ...["-device", `virtio-net-pci,netdev=login,mac=${role.loginMac},romfile=,addr=6`],
    // A pair of unix datagram sockets: no port to collide with another pair, and nothing else can listen in.
    ...["-netdev", storageNetwork(plan.role, peer)],
    ...["-device", `virtio-net-pci,netdev=${storageNetdev},mac=${role.storageMac},romfile=,addr=7`],
    ...(plan.loadState === undefined ? [] : ["-loadvm", plan.loadState]),
  ];
}

/** What QEMU must have in common between saving a state and loading it, apart from disks and its own version. */
export function machineArguments(plan: Pick<VmPlan, "acceleration" | "cpus">): readonly string[] {
  return [
    ...["-M", "pc", "-accel", plan.acceleration === "kvm" ? "kvm" : "tcg,thread=multi", "-cpu", "max"],
    ...["-smp", String(plan.cpus), "-m", String(memoryMiB)],
    ...["-nodefaults", "-no-user-config", "-display", "none"],
  ];
}

/** fsck is skipped: after a power cut the journal is replayed at mount, and a check would only cost time. */
export function kernelCommandLine(role: RoleName): string {
  return [
    "root=/dev/vda rw console=ttyS0 loglevel=4",
    `net.ifnames=0 mitigations=off fsck.mode=skip systemd.hostname=${role}`,
  ].join(" ");
}

/** Key of saved machines: a change of image, QEMU or machine makes an earlier state unloadable. */
export function savedStateKey(imageKey: string, qemuVersion: string, plan: Pick<VmPlan, "acceleration" | "cpus">): string {
  const sample = (role: RoleName): readonly string[] =>
    qemuCommand({ ...plan, role, kernel: "", initrd: "", sshPort: 0 });
  return keyOf({ imageKey, qemuVersion, give: sample("give"), take: sample("take"), roles });
}

function disk(id: string, file: string, slot: number): readonly string[] {
  return [
    "-drive",
    // unsafe: the host's cache is never flushed. A guest's power cut is a reset of QEMU, which keeps it.
    `file=${file},if=none,id=${id},format=qcow2,cache=unsafe,discard=unmap`,
    "-device",
    `virtio-blk-pci,drive=${id},addr=${slot},serial=zfsilo-${id}`,
  ];
}

function storageNetwork(role: RoleName, peer: RoleName): string {
  const mine = vmFiles.storageSocket(role);
  const other = vmFiles.storageSocket(peer);
  return `dgram,id=${storageNetdev},local.type=unix,local.path=${mine},remote.type=unix,remote.path=${other}`;
}
