import { Table, type Store } from "./store.ts";

/** What a machine is and what it keeps through a power cut. */
export interface MachineDoc {
  addresses: string[];
  online: boolean;
  /** Storage networks cut: names of the machines that cannot be reached. */
  cutFrom: string[];
  /** A machine with iscsid running. */
  initiator: boolean;
  /** How udev treats zvols that are made from now on. */
  udev: { missesBeforeLink: number; linksToLose: number };
}

/** What the kernel of a machine holds until it is switched off. */
export interface KernelDoc {
  modules: string[];
  nextZvol: number;
  nextSession: number;
  nextMount: number;
  nextDisk: number;
  /** Disk numbers below nextDisk that are free again: the kernel hands out the lowest. */
  freeDisks: number[];
  /** Encryption keys that are loaded, by the id of the key. None when absent. */
  keys?: string[];
}

export type PoolHealth = "ONLINE" | "DEGRADED" | "SUSPENDED";

export interface PoolDoc {
  /** Bytes that datasets can use. */
  size: string;
  guid: string;
  /** Bytes really written, reservations left out. */
  allocated: string;
  /** ONLINE when absent. */
  health?: PoolHealth;
}

/** Whether udev has made a zvol's link: not before it was looked for `missesLeft` times more, or not at all until triggered. */
export type DeviceLink = "present" | "lost" | { readonly missesLeft: number };

export interface DatasetDoc {
  type: "filesystem" | "volume";
  /** Locally set properties, native and user, as `zfs get -p` prints them. */
  props: Record<string, string>;
  guid: string;
  createTxg: number;
  /** Seconds since the epoch. */
  created: number;
  origin?: string;
  /** Encryption; a clone has its origin's. `check` is a hash of the key. */
  encryption?: { algorithm: string; keyId: string; check: string; format: string; location: string };
  space: SpaceDoc;
  /** Volumes: their content, device and whether udev has made the link. */
  content?: string;
  device?: string;
  link?: DeviceLink;
}

/** Bytes, as decimal text. See zfs/space.ts for how they add up. */
export interface SpaceDoc {
  /** Live data charged to this dataset. */
  referenced: string;
  /** Live data a clone shares with its origin, which pays for it. */
  inherited: string;
  /** Live data written since the newest snapshot. */
  unique: string;
  /** Data that only snapshots hold. */
  snapshots: string;
  /** What the children use. */
  children: string;
}

export interface SnapshotDoc {
  props: Record<string, string>;
  guid: string;
  createTxg: number;
  created: number;
  referenced: string;
  content?: string;
  volsize?: string;
  holds: Record<string, number>;
  /** Destroyed with -d while it had clones or holds. */
  deferred?: boolean;
}

export type DeviceDoc = ZvolDevice | DiskDevice;

interface DeviceCommon {
  /** `major:minor`. */
  number: string;
  /** Who has it open exclusively: `mount`, `lio`, `dm:vg-data` for an LVM volume. The device cannot go while somebody has. */
  holders: string[];
}

export interface ZvolDevice extends DeviceCommon {
  kind: "zvol";
  dataset: string;
}

export interface DiskDevice extends DeviceCommon {
  kind: "disk";
  session: number;
  lun: number;
  serial: string;
  /** As last scanned. */
  size: string;
  /** The target said "write protected" when it was last scanned. False when absent. */
  readOnly?: boolean;
  /** The session is logged out, but something still has the disk open: every access is EIO. */
  gone: boolean;
}

export interface SessionDoc {
  target: string;
  tpgt: string;
  address: string;
  port: string;
  /** Machine that serves the target. */
  peer: string;
  initiator: string;
  iface: string;
  state: "LOGGED_IN" | "FAILED";
  /** Node record at login: iscsid keeps it for logging in again. */
  credentials: Credentials;
  /** Disk name by LUN. */
  disks: Record<string, string>;
}

export interface Credentials {
  method: string;
  user?: string;
  password?: string;
  targetUser?: string;
  targetPassword?: string;
}

/** A directory a caller made in configfs, with what was written in it and below it. */
export interface ConfigNode {
  attributes?: Record<string, string>;
  children?: Record<string, ConfigNode>;
  links?: Record<string, string>;
}

export interface BackstoreDoc extends ConfigNode {
  enabled: boolean;
  /** Paths of the LUN directories that link to it. */
  exports: string[];
  /** Device node it has open, when enabled. */
  device?: string;
}

export interface MountDoc {
  id: number;
  parent: number;
  at: string;
  /** Unset for a bind-mounted device node. */
  content?: string;
  /** Directory or file inside the content, "" for its root. */
  root: string;
  device?: string;
  /** Of an XFS: it refuses a second one of the same UUID. */
  uuid?: string;
  fstype: string;
  source: string;
  readOnly: boolean;
  options: string[];
  /** ext4 and xfs stop writing after the first I/O error, until mounted anew. */
  failed: boolean;
}

/** A filesystem whose writers a machine has stopped: by a service that ends at `until` (milliseconds), or by hand. */
export interface FreezeDoc {
  unit?: string;
  until?: number;
}

/** All mounts at one place, the visible one last. */
export interface MountStack {
  mounts: MountDoc[];
}

export interface ContentDoc {
  /** `machine/dataset` to which writes are charged. */
  owner?: string;
  /** Grows with each snapshot: what an older generation wrote is shared with one. */
  generation: number;
  /** Of a clone: what this generation or an older one wrote belongs to the origin. */
  base: number;
  fs?: FilesystemDoc;
}

export interface FilesystemDoc {
  type: "ext4" | "xfs";
  uuid: string;
  label: string;
  blockSize: number;
  size: string;
  used: string;
  /** How many machines have it mounted for writing: above 0 it is not clean. */
  writers: number;
  /** resize2fs without a mount wants an e2fsck since the last one. */
  mountedSinceCheck: boolean;
  damaged: boolean;
  /** An ext4 without 64bit. */
  narrow?: boolean;
  /** An xfs whose mkfs did not end. */
  unfinished?: boolean;
}

export interface FileDoc {
  kind: "directory" | "file" | "link";
  mode: number;
  /** Content, or target of a link. */
  text: string;
  generation: number;
}

/** One 8 KiB piece of a raw device, base64. Absent means zeros. */
export interface BlockDoc {
  generation: number;
  data: string;
}

export interface CounterDoc {
  value: number;
}

/** Every kind of document there is. */
export class Model {
  readonly store: Store;
  readonly machines: Table<MachineDoc>;
  readonly machineByAddress: Table<{ machine: string }>;
  readonly kernels: Table<KernelDoc>;
  readonly pools: Table<PoolDoc>;
  readonly datasets: Table<DatasetDoc>;
  readonly snapshots: Table<SnapshotDoc>;
  /** Clones by the snapshot they come from. */
  readonly clones: Table<{ dataset: string }>;
  readonly devices: Table<DeviceDoc>;
  readonly sessions: Table<SessionDoc>;
  readonly sessionsByTarget: Table<{ session: number }>;
  /** At the target: which initiator machine's session, by target name. */
  readonly nexuses: Table<{ machine: string; session: number }>;
  readonly hbas: Table<ConfigNode>;
  readonly backstores: Table<BackstoreDoc>;
  readonly targets: Table<ConfigNode>;
  /** How many portal groups listen on an address and port. */
  readonly listeners: Table<CounterDoc>;
  readonly mounts: Table<MountStack>;
  /** Mounts by `parent.ID` and by `uuid.UUID`. */
  readonly mountIndex: Table<{ at: string; device?: string }>;
  /** By machine and content. */
  readonly freezes: Table<FreezeDoc>;
  readonly contents: Table<ContentDoc>;
  readonly files: Table<FileDoc>;
  readonly blocks: Table<BlockDoc>;
  readonly counters: Table<CounterDoc>;

  constructor(store: Store) {
    this.store = store;
    this.machines = new Table(store, "machine");
    this.machineByAddress = new Table(store, "address");
    this.kernels = new Table(store, "kernel");
    this.pools = new Table(store, "pool");
    this.datasets = new Table(store, "dataset");
    this.snapshots = new Table(store, "snapshot");
    this.clones = new Table(store, "clone");
    this.devices = new Table(store, "device");
    this.sessions = new Table(store, "session");
    this.sessionsByTarget = new Table(store, "session-by-target");
    this.nexuses = new Table(store, "nexus");
    this.hbas = new Table(store, "hba");
    this.backstores = new Table(store, "backstore");
    this.targets = new Table(store, "target");
    this.listeners = new Table(store, "listener");
    this.mounts = new Table(store, "mount");
    this.mountIndex = new Table(store, "mount-index");
    this.freezes = new Table(store, "freeze");
    this.contents = new Table(store, "content");
    this.files = new Table(store, "file");
    this.blocks = new Table(store, "block");
    this.counters = new Table(store, "counter");
  }

  /** 1, 2, 3, ... in each series. */
  next(series: string): number {
    const counter = this.counters.edit(series);
    if (counter === undefined) {
      this.counters.put(series, { value: 1 });
      return 1;
    }
    counter.value += 1;
    return counter.value;
  }
}
