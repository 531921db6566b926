import type { Argv, CallOptions, Executor, RunResult } from "@zfsilo/command";
import {
  BlockDevices,
  childOf,
  Filesystems,
  Freezer,
  Iscsi,
  LioTarget,
  Mounts,
  parseDatasetName,
  parseHostPath,
  parseIqn,
  snapshotOf,
  Zfs,
  ZfsClones,
  ZfsCopies,
  ZfsKeys,
  ZfsRanges,
  ZfsSnapshots,
  Zpools,
  zvolPath,
  type BlockDevice,
  type Chap,
  type DatasetName,
  type ExportSpec,
  type HostPath,
  type Iqn,
  type NodeRecord,
  type Session,
  type SnapshotName,
  type ZfsOptions,
  type ZfsSnapshot,
  type Zvol,
} from "@zfsilo/host";
import { bytes, errorChain, KeyedMutex, newVolumeHandle, retry, Secret, type Bytes, type VolumeHandle } from "@zfsilo/lib";
import { randomBytes } from "node:crypto";
import type { HostWorld } from "./world.ts";

export const mib = (count: number): Bytes => bytes(BigInt(count) << 20n);

/** The cluster whose marks the volumes of this suite carry. */
const cluster = "contract";

export interface Volume {
  readonly handle: VolumeHandle;
  readonly dataset: DatasetName;
  readonly owner: { readonly volume: string; readonly cluster: string };
  readonly zvol: Zvol;
  /** What an export of it is asked for: one portal, CHAP demanded. */
  readonly spec: ExportSpec;
}

export interface Connected {
  readonly volume: Volume;
  readonly chap: Chap;
  readonly record: NodeRecord;
  readonly session: Session;
  readonly device: BlockDevice;
}

export interface NewVolume {
  readonly sizeBytes?: Bytes;
  readonly sparse?: boolean;
}

export interface NewClone {
  readonly sizeBytes?: Bytes;
  readonly sparse?: boolean;
  readonly options?: ZfsOptions;
}

/** The lab of the suite that runs, for tests that are declared before it is open. */
export type CurrentLab = () => Lab;

/** The wrappers over both machines of a world, and what each test makes on them, which goes when the test ends. */
export class Lab {
  readonly world: HostWorld;
  readonly o: CallOptions = { signal: new AbortController().signal };
  readonly zfs: Zfs;
  readonly zpools: Zpools;
  readonly keys: ZfsKeys;
  readonly snapshots: ZfsSnapshots;
  readonly clones: ZfsClones;
  readonly copies: ZfsCopies;
  readonly ranges: ZfsRanges;
  readonly lio: LioTarget;
  readonly iscsi: Iscsi;
  /** Of the target: zvols. */
  readonly zvols: BlockDevices;
  /** Of the initiator: disks of sessions. */
  readonly disks: BlockDevices;
  /** On zvols directly, which needs no session. */
  readonly targetFilesystems: Filesystems;
  readonly filesystems: Filesystems;
  readonly mounts: Mounts;
  readonly freezer: Freezer;
  readonly parent: DatasetName;
  /** Everything the suite mounts, binds or writes on the initiator lies below it. */
  readonly directory: HostPath = parseHostPath("/mnt/contract");
  readonly #creates = new KeyedMutex();
  readonly #cleanups: (() => Promise<void>)[] = [];

  constructor(world: HostWorld) {
    this.world = world;
    const { target, initiator } = world;
    this.zfs = new Zfs(target);
    this.zpools = new Zpools(target);
    this.keys = new ZfsKeys(target);
    this.snapshots = new ZfsSnapshots(target);
    this.clones = new ZfsClones(target);
    this.copies = new ZfsCopies(target);
    this.ranges = new ZfsRanges(target);
    this.lio = new LioTarget(target);
    this.iscsi = new Iscsi(initiator);
    const quick = { firstMs: 20, maxMs: 250, limitMs: 4000 };
    this.zvols = new BlockDevices(target, new Iscsi(target));
    this.disks = new BlockDevices(initiator, this.iscsi, { deviceBackoff: quick });
    this.targetFilesystems = new Filesystems(target);
    this.filesystems = new Filesystems(initiator);
    this.mounts = new Mounts(initiator);
    this.freezer = new Freezer(initiator);
    this.parent = parseDatasetName(`${world.pool}/contract`);
  }

  /** What acts for a person at the machines, and for programs that use the volumes. */
  get byHand(): { readonly target: Executor; readonly initiator: Executor } {
    return this.world.byHand ?? this.world;
  }

  /** Wrappers past any policy, for what only the tool itself can refuse. */
  get past(): { readonly zfs: Zfs; readonly targetFilesystems: Filesystems } {
    const { target } = this.byHand;
    return { zfs: new Zfs(target), targetFilesystems: new Filesystems(target) };
  }

  /** What an operator could have done by hand: a command the wrappers do not send. Its exit must be 0. */
  async command(executor: Executor, ...argv: Argv): Promise<string> {
    const result: RunResult = await executor.run(argv, this.o);
    if (result.exitCode !== 0) throw new Error(`${argv.join(" ")} exited with ${result.exitCode}: ${result.stderr}`);
    return result.stdout;
  }

  /** What the wrappers would never destroy, with everything below it. Retried: udev may still look at a new volume. */
  async destroyTree(name: string): Promise<void> {
    const { target } = this.byHand;
    await retry(() => this.command(target, "zfs", "destroy", "-r", name), () => true, this.o.signal);
  }

  /** Runs at the end of the test, latest first. */
  defer(cleanup: () => Promise<void>): void {
    this.#cleanups.push(cleanup);
  }

  async cleanUp(): Promise<void> {
    const failures: unknown[] = [];
    for (let next = this.#cleanups.pop(); next !== undefined; next = this.#cleanups.pop()) {
      await next().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw new AggregateError(failures, `clean up: ${failures.map(errorChain).join("; ")}`);
  }

  newOwner(): { handle: VolumeHandle; dataset: DatasetName; owner: Volume["owner"] } {
    const handle = newVolumeHandle();
    return { handle, dataset: childOf(this.parent, handle), owner: { volume: `vol_${handle}`, cluster } };
  }

  /** How a volume of this suite is exported. */
  specOf(handle: VolumeHandle, dataset: DatasetName): ExportSpec {
    const target = parseIqn(`iqn.2026-01.io.zfsilo.contract:${handle}`);
    return { handle, target, devicePath: zvolPath(dataset), portals: [this.world.portal] };
  }

  /** Makes a zvol, creates taking turns as they must on one pool, and waits for its device link. */
  async volume({ sizeBytes = mib(64), sparse = true }: NewVolume = {}): Promise<Volume> {
    const volume = await this.bareVolume({ sizeBytes, sparse });
    await this.zvols.awaitZvolDevice(volume.dataset, this.o);
    return volume;
  }

  /** As `volume`, without waiting for the device. */
  async bareVolume({ sizeBytes = mib(64), sparse = true }: NewVolume = {}): Promise<Volume> {
    const { handle, dataset, owner } = this.newOwner();
    this.defer(() => this.zfs.destroyOwnedVolume(dataset, owner, this.o));
    const userProperties = { "zfsilo:volume": owner.volume, "zfsilo:cluster": owner.cluster };
    using _turn = await this.#creates.acquire(this.world.pool);
    const zvol = await this.zfs.createVolume({ dataset, sizeBytes, sparse, options: {}, userProperties }, this.o);
    return { handle, dataset, owner, zvol, spec: this.specOf(handle, dataset) };
  }

  /** A snapshot of ours, `snap_HANDLE`, which goes when the test ends if nothing holds it. */
  async snapshot(volume: Pick<Volume, "dataset">, handle: string): Promise<{ name: SnapshotName; handle: string; taken: ZfsSnapshot }> {
    const name = snapshotOf(volume.dataset, handle);
    this.defer(() => this.dropSnapshot(name));
    const [taken] = await this.snapshots.create([name], { "zfsilo:snapshot": `snap_${handle}` }, this.o);
    if (taken === undefined) throw new Error(`no snapshot ${name}`);
    return { name, handle, taken };
  }

  /** Destroys a snapshot, whosever it is, with its holds. */
  async dropSnapshot(name: SnapshotName): Promise<void> {
    if ((await this.snapshots.find(name, this.o)) === undefined) return;
    const tags = (await this.snapshots.holds([name], this.o)).get(name) ?? [];
    for (const tag of tags) await this.command(this.byHand.target, "zfs", "release", tag, name);
    await this.command(this.byHand.target, "zfs", "destroy", name);
  }

  async clone(snapshot: SnapshotName, options: NewClone = {}): Promise<Pick<Volume, "handle" | "dataset" | "owner" | "zvol">> {
    const { handle, dataset, owner } = this.newOwner();
    this.defer(() => this.zfs.destroyOwnedVolume(dataset, owner, this.o));
    const userProperties = { "zfsilo:volume": owner.volume, "zfsilo:cluster": owner.cluster };
    using _turn = await this.#creates.acquire(this.world.pool);
    const zvol = await this.clones.clone({ snapshot, dataset, sparse: true, options: {}, userProperties, ...options }, this.o);
    return { handle, dataset, owner, zvol };
  }

  async exported(options: NewVolume & { readonly authentication?: boolean } = {}): Promise<Volume> {
    const volume = await this.volume(options);
    const { authentication } = options;
    const spec = authentication === undefined ? volume.spec : { ...volume.spec, authentication };
    this.defer(() => this.lio.removeExport(spec, this.o));
    await this.lio.ensureExport(spec, this.o);
    return { ...volume, spec };
  }

  newChap(mutual = false): Chap {
    const word = (): Secret => new Secret(randomBytes(12).toString("hex"));
    const own = { userid: `in-${randomBytes(4).toString("hex")}`, password: word() };
    return mutual ? { ...own, mutualUserid: "target-side", mutualPassword: word() } : own;
  }

  recordFor(target: Iqn, chap?: Chap): NodeRecord {
    const { portal } = this.world;
    return { target, portal, replacementTimeoutSeconds: 5, ...(chap === undefined ? {} : { chap }) };
  }

  /** Writes a record that goes, with whatever session was made by it, when the test ends. */
  async writeRecord(record: NodeRecord): Promise<void> {
    this.defer(() => this.disconnect(record));
    await this.iscsi.writeNodeRecord(record, this.o);
  }

  /** A volume that is exported to the initiator, ready for it to log in. */
  async admitted(options: NewVolume = {}): Promise<{ volume: Volume; chap: Chap; record: NodeRecord }> {
    const volume = await this.exported(options);
    const chap = this.newChap();
    const { target } = volume.spec;
    await this.lio.ensureInitiator({ target, initiator: this.world.initiatorIqn, chap }, this.o);
    const record = this.recordFor(target, chap);
    await this.writeRecord(record);
    return { volume, chap, record };
  }

  async connected(options: NewVolume = {}): Promise<Connected> {
    const ready = await this.admitted(options);
    const session = await this.iscsi.login(ready.record, this.o);
    return { ...ready, session, device: await this.disks.awaitIscsiDevice(ready.record, ready.volume.handle, this.o) };
  }

  async disconnect(record: NodeRecord): Promise<void> {
    await this.iscsi.logout(record, this.o);
    await this.iscsi.removeNodeRecord(record, this.o);
  }

  /** A place on the initiator below the suite's directory; what is mounted or made there goes when the test ends. */
  place(name: string): HostPath {
    const path = parseHostPath(`${this.directory}/${name}`);
    this.defer(async () => {
      await this.mounts.unmount(path, this.o);
      await this.mounts.removeTarget(path, this.o);
    });
    return path;
  }
}
