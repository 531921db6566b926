import type { Argv, CallOptions, Executor } from "@zfsilo/command";
import { formatBytes, invalidField, type Bytes } from "@zfsilo/lib";
import { assignments, requireUserProperties } from "./assignments.ts";
import { fitVolume, requireNoBlockSize } from "./fit.ts";
import type { DatasetName } from "./names.ts";
import type { ZfsOptions } from "./options.ts";
import type { Zvol } from "./parse.ts";
import { ZfsReader } from "./reader.ts";
import type { SnapshotName } from "./snapshot-name.ts";
import { ZfsSnapshots } from "./snapshots.ts";
import { Zfs, type UserProperties } from "./zfs.ts";

export interface CloneSpec {
  readonly snapshot: SnapshotName;
  readonly dataset: DatasetName;
  /** At least the snapshot's, whose size it has when absent. A multiple of its block size. */
  readonly sizeBytes?: Bytes;
  /** A clone reserves nothing by itself: without this it gets room for a full rewrite. */
  readonly sparse: boolean;
  /** `volblocksize` is the snapshot's, and refused here. Those left out are inherited from the parent, not from the source. */
  readonly options: ZfsOptions;
  /** Set in the same command, so that a clone of ours never exists without its mark (I1). */
  readonly userProperties: UserProperties;
}

/** Volumes made of snapshots. Every argument order and output is listed in COMMANDS.md. */
export class ZfsClones {
  readonly #reader: ZfsReader;
  readonly #zfs: Zfs;
  readonly #snapshots: ZfsSnapshots;

  constructor(executor: Executor) {
    this.#reader = new ZfsReader(executor);
    this.#zfs = new Zfs(executor);
    this.#snapshots = new ZfsSnapshots(executor);
  }

  /**
   * Makes a thin clone and reads it back. `already_exists` when the dataset is there, whosever it is. Size and reservation
   * follow the clone in commands of their own: a failure there leaves a clone with its marks, for its owner to destroy.
   */
  async clone(spec: CloneSpec, o: CallOptions): Promise<Zvol> {
    const { snapshot, dataset, sizeBytes } = spec;
    const doing = `clone ${snapshot} to ${dataset}`;
    requireUserProperties(spec.userProperties);
    requireNoBlockSize(spec.options);
    if (sizeBytes !== undefined) await this.#requireRoom(snapshot, sizeBytes, o);
    const settings = assignments({ ...spec.options, ...spec.userProperties }).flatMap((assignment) => ["-o", assignment]);
    const argv: Argv = ["zfs", "clone", ...settings, snapshot, dataset];
    const made = await this.#zfs.changeVolume(doing, argv, dataset, o);
    if (made.origin !== snapshot) {
      throw this.#reader.error("internal", `${doing}: its origin is ${made.origin ?? "nothing"} afterwards`);
    }
    return await fitVolume(this.#zfs, this.#reader, made, { sizeBytes: sizeBytes ?? made.sizeBytes, sparse: spec.sparse }, o);
  }

  async #requireRoom(snapshot: SnapshotName, sizeBytes: Bytes, o: CallOptions): Promise<void> {
    const source = await this.#snapshots.get(snapshot, o);
    if (sizeBytes >= source.sizeBytes) return;
    throw invalidField("size_bytes", `is less than the ${formatBytes(source.sizeBytes)} of ${snapshot}`);
  }

  /**
   * Turns a clone and its origin round: the snapshots up to the origin become the clone's. Done when it is no clone (any
   * more). `already_exists` when both have a snapshot of one name.
   */
  async promote(dataset: DatasetName, o: CallOptions): Promise<Zvol> {
    const present = await this.#zfs.getVolume(dataset, o);
    const { origin } = present;
    if (origin === undefined) return present;
    const promoted = await this.#zfs.changeVolume(`promote ${dataset}`, ["zfs", "promote", dataset], dataset, o);
    if (promoted.origin === origin) {
      throw this.#reader.error("internal", `promote ${dataset}: it is still a clone of ${origin}`);
    }
    return promoted;
  }
}
