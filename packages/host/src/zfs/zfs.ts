import { CommandOutputError, type Argv, type CallOptions, type Executor, type RunOptions, type SequencedCommand } from "@zfsilo/command";
import { formatBytes, invalidField, pauses, StorageError, type Bytes } from "@zfsilo/lib";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { findHolders, nameHolders } from "../holders/holders.ts";
import { assignments, requireUserProperties } from "./assignments.ts";
import { encryptionArguments, keyInput, type EncryptionSpec } from "./encryption.ts";
import { sizeGate, volumeGate, type KnownSize } from "./gates.ts";
import { parentOf, poolOf, zvolPath, type DatasetName, type PoolName } from "./names.ts";
import type { ZfsOptions } from "./options.ts";
import {
  eachZvol,
  parsePools,
  parseSpace,
  parseZvol,
  poolColumns,
  spaceColumns,
  volumeColumns,
  type DatasetSpace,
  type Owner,
  type Pool,
  type Zvol,
} from "./parse.ts";
import { argvOf, ZfsReader, type FoundProperties, type Question } from "./reader.ts";

export interface VolumeSpec {
  readonly dataset: DatasetName;
  /** A multiple of the block size: zfs would round it up silently. */
  readonly sizeBytes: Bytes;
  readonly sparse: boolean;
  readonly options: ZfsOptions;
  readonly encryption?: EncryptionSpec;
  /** `zfsilo:*` properties, set in the same command, so that a volume of ours never exists without its mark (I1). */
  readonly userProperties: UserProperties;
}

export type UserPropertyName = "zfsilo:volume" | "zfsilo:cluster" | "zfsilo:name" | "zfsilo:formatted" | "zfsilo:generation";
export type UserProperties = Readonly<Partial<Record<UserPropertyName, string>>>;

/** Who a volume must belong to before it is destroyed. */
export interface ExpectedOwner extends Owner {
  /** When known: a volume of the same name and marks that was made again is another one. */
  readonly guid?: string;
}

/** Destroying right after creating is refused as busy while udev still probes the device (hosts.md, ZFS): bounded. */
const busyBackoff = { firstMs: 50, maxMs: 1000, limitMs: 5000 };

/** About 10 ms of work. */
const volumesPerTurn = 200;

function questionOf(dataset: DatasetName): Question {
  return { pool: poolOf(dataset), names: [dataset], columns: volumeColumns };
}

function growArgv(dataset: DatasetName, sizeBytes: Bytes): Argv {
  return ["zfs", "set", `volsize=${sizeBytes}`, dataset];
}

/** zfs and zpool. Every argument order and output is listed in COMMANDS.md. */
export class Zfs {
  readonly #executor: Executor;
  readonly #reader: ZfsReader;

  constructor(executor: Executor) {
    this.#executor = executor;
    this.#reader = new ZfsReader(executor);
  }

  /** The version of the user-space tools, e.g. `2.1.11-1`. */
  async version(o: CallOptions): Promise<string> {
    const argv: Argv = ["zfs", "version"];
    const stdout = await this.#reader.tool.run("read the ZFS version", argv, o);
    const version = /^zfs-(\S+)$/m.exec(stdout)?.[1];
    if (version === undefined) throw new CommandOutputError(this.#executor.host, { argv, output: stdout });
    return version;
  }

  /** The imported pools. */
  async listPools(o: CallOptions): Promise<Pool[]> {
    const argv: Argv = ["zpool", "list", "-Hp", "-o", poolColumns];
    return this.#reader.read(argv, await this.#reader.tool.run("list pools", argv, o), parsePools);
  }

  /** Undefined when no pool of this name is imported. */
  async findPool(name: PoolName, o: CallOptions): Promise<Pool | undefined> {
    return await this.#reader.findPool(name, o);
  }

  /** Space of a file system (or pool root). Undefined when it does not exist in its imported pool. */
  async findDatasetSpace(dataset: DatasetName, o: CallOptions): Promise<DatasetSpace | undefined> {
    const { argv, stdout, properties: all } = await this.#reader.findProperties(poolOf(dataset), [dataset], spaceColumns, o);
    const properties = all.get(dataset);
    return properties === undefined ? undefined : this.#reader.read(argv, stdout, () => parseSpace(properties));
  }

  /**
   * Makes the container under which volumes live (mountpoint=none, canmount=off). Its parent must exist: making a chain
   * of datasets from a misspelt name is never wanted.
   */
  async ensureFilesystem(dataset: DatasetName, o: CallOptions): Promise<DatasetSpace> {
    const present = await this.findDatasetSpace(dataset, o);
    if (present !== undefined) return this.#requireFilesystem(dataset, present);
    const argv: Argv = ["zfs", "create", "-o", "mountpoint=none", "-o", "canmount=off", dataset];
    try {
      await this.#reader.tool.run(`create file system ${dataset}`, argv, o);
    } catch (error) {
      // Another caller may have made it between the look and the create.
      if (!(error instanceof StorageError) || error.reason !== "already_exists") throw error;
    }
    const made = await this.findDatasetSpace(dataset, o);
    if (made === undefined) throw this.#reader.error("internal", `create file system ${dataset}: it is not there afterwards`);
    return this.#requireFilesystem(dataset, made);
  }

  /** Makes a zvol and reads it back. `already_exists` when the dataset is there, whosever it is. */
  async createVolume(spec: VolumeSpec, o: CallOptions): Promise<Zvol> {
    if (spec.sizeBytes === 0n) throw invalidField("size_bytes", "cannot be zero");
    requireUserProperties(spec.userProperties);
    const { volblocksize, ...settable } = spec.options;
    if (volblocksize !== undefined && spec.sizeBytes % BigInt(volblocksize) !== 0n) {
      throw invalidField("size_bytes", `is not a multiple of the volume block size ${volblocksize}`);
    }
    const argv: Argv = [
      "zfs",
      "create",
      ...(spec.sparse ? ["-s"] : []),
      "-V",
      spec.sizeBytes.toString(),
      ...(volblocksize === undefined ? [] : ["-o", `volblocksize=${volblocksize}`]),
      ...(spec.encryption === undefined ? [] : encryptionArguments(spec.encryption)),
      ...assignments({ ...settable, ...spec.userProperties }).flatMap((assignment) => ["-o", assignment]),
      spec.dataset,
    ];
    const made = await this.changeVolume(`create volume ${spec.dataset}`, argv, spec.dataset, { ...o, ...keyInput(spec.encryption?.key) });
    if (made.sizeBytes !== spec.sizeBytes) {
      const sizes = `asked for ${spec.sizeBytes} bytes, got ${made.sizeBytes}`;
      throw this.#reader.error("invalid_argument", `create volume ${spec.dataset}: ${sizes}`, {
        hint: `Use a multiple of the volume block size, ${made.volblocksizeBytes} bytes.`,
      });
    }
    return made;
  }

  /**
   * Undefined only when the dataset does not exist while its pool is imported (I3): a missing pool throws `unavailable`,
   * since nothing can be said about what it holds. A dataset of another type is a `precondition` failure.
   */
  async findVolume(dataset: DatasetName, o: CallOptions): Promise<Zvol | undefined> {
    return this.#volumeIn(dataset, await this.#reader.findProperties(poolOf(dataset), [dataset], volumeColumns, o));
  }

  /** Runs a command that leaves a volume there, and reads that back in the same round trip. */
  async changeVolume(doing: string, argv: Argv, dataset: DatasetName, o: RunOptions): Promise<Zvol> {
    return this.#requireVolume(dataset, this.#volumeIn(dataset, await this.#reader.change(doing, argv, questionOf(dataset), o)));
  }

  async getVolume(dataset: DatasetName, o: CallOptions): Promise<Zvol> {
    return this.#requireVolume(dataset, await this.findVolume(dataset, o));
  }

  /** The volumes directly in `parent`, in one command. */
  async listVolumes(parent: DatasetName, o: CallOptions): Promise<Zvol[]> {
    const columns = ["-o", "name,property,value,source", volumeColumns];
    const argv: Argv = ["zfs", "get", "-Hp", "-d", "1", "-t", "volume", ...columns, parent];
    const result = await this.#reader.tool.exit(argv, { ...o, timeoutMs: o.timeoutMs ?? 120_000, maxOutputBytes: 64 << 20 });
    if (result.exitCode !== 0) {
      const failure = this.#reader.tool.failure(`list volumes of ${parent}`, argv, result);
      if (failure.reason === "not_found") await this.#reader.requirePool(`read ${parent}`, poolOf(parent), o);
      throw failure;
    }
    return await this.#readVolumes(argv, result.stdout);
  }

  /**
   * Grows a volume and reads its size back. A smaller size is refused before zfs sees it: `zfs set volsize` shrinks without
   * a question and loses data (hosts.md, ZFS).
   */
  async growVolume(dataset: DatasetName, sizeBytes: Bytes, o: CallOptions): Promise<Zvol> {
    const present = await this.getVolume(dataset, o);
    if (sizeBytes < present.sizeBytes) {
      const sizes = `${formatBytes(present.sizeBytes)} to ${formatBytes(sizeBytes)}`;
      throw this.#reader.error("invalid_argument", `grow volume ${dataset}: from ${sizes} would shrink it`);
    }
    if (sizeBytes === present.sizeBytes) return present;
    return this.#requireSize(await this.changeVolume(`grow volume ${dataset}`, growArgv(dataset, sizeBytes), dataset, o), sizeBytes);
  }

  /**
   * The same in one round trip, for a volume that is still as it is known. Undefined when it is not, or when that cannot be
   * told: then nothing was done, and whoever asks looks at it in full.
   */
  async growKnownVolume(dataset: DatasetName, known: KnownSize, sizeBytes: Bytes, o: CallOptions): Promise<Zvol | undefined> {
    if (sizeBytes <= known.sizeBytes) return undefined;
    const set = growArgv(dataset, sizeBytes);
    const question = questionOf(dataset);
    const [check, changed, answer] = await this.#reader.tool.sequence([sizeGate(dataset, known), { argv: set }, { argv: argvOf(question) }], o);
    if (check === undefined || changed === undefined) return undefined;
    if (answer === undefined) throw this.#reader.tool.failure(`grow volume ${dataset}`, set, changed);
    return this.#requireSize(this.#requireVolume(dataset, this.#volumeIn(dataset, this.#reader.answerTo(question, answer))), sizeBytes);
  }

  #requireSize(grown: Zvol, sizeBytes: Bytes): Zvol {
    if (grown.sizeBytes === sizeBytes) return grown;
    throw this.#reader.error("internal", `grow volume ${grown.dataset}: asked for ${sizeBytes} bytes, it has ${grown.sizeBytes}`);
  }

  /** Sets options and user properties in one command, and reads them back. */
  async setProperties(dataset: DatasetName, options: ZfsOptions, user: UserProperties, o: CallOptions): Promise<Zvol> {
    requireUserProperties(user);
    const wanted = assignments({ ...options, ...user });
    if (wanted.length === 0) return await this.getVolume(dataset, o);
    const found = await this.#reader.change(`set properties of ${dataset}`, ["zfs", "set", ...wanted, dataset], questionOf(dataset), o);
    const { argv, stdout } = found;
    const properties = found.properties.get(dataset);
    if (properties === undefined) throw this.#reader.error("not_found", `read volume ${dataset}: it does not exist`);
    for (const [name, value] of Object.entries({ ...options, ...user })) {
      const { value: now, source } = properties[name] ?? { value: "-", source: "-" };
      if (now !== value || source !== "local") {
        throw this.#reader.error("internal", `set ${name} of ${dataset}: it reads back as ${now} (${source})`);
      }
    }
    return this.#reader.read(argv, stdout, () => parseZvol(dataset, properties));
  }

  /** Sets user properties in one command. What depends on them reads them itself. */
  async mark(dataset: DatasetName, user: UserProperties, o: CallOptions): Promise<void> {
    requireUserProperties(user);
    await this.#reader.tool.run(`mark ${dataset}`, ["zfs", "set", ...assignments(user), dataset], o);
  }

  /** Takes user properties away that were set on the dataset itself. */
  async unmark(dataset: DatasetName, name: UserPropertyName, o: CallOptions): Promise<void> {
    await this.#reader.tool.run(`take ${name} off ${dataset}`, ["zfs", "inherit", "-S", name, dataset], o);
  }

  /**
   * Destroys a volume if both its ownership properties, and the guid when given, are the expected ones. Absent is done;
   * anything else is refused (I1). With a guid that is one round trip, in which the check lets the destroying go on.
   */
  async destroyOwnedVolume(dataset: DatasetName, owner: ExpectedOwner, o: CallOptions): Promise<void> {
    const { guid } = owner;
    if (guid !== undefined) {
      const passed = await this.#destroy(dataset, o, volumeGate(dataset, { ...owner, guid }));
      if (passed) return;
    }
    // Not what it is known as, or not there: what it is decides, and is said.
    const present = await this.findVolume(dataset, o);
    if (present === undefined) return;
    this.requireOwner(present, owner);
    await this.destroyVolume(dataset, o);
  }

  /** Throws `precondition` unless the volume carries the owner's marks. */
  requireOwner(volume: Zvol, owner: ExpectedOwner): void {
    const mine = volume.owner?.volume === owner.volume && volume.owner.cluster === owner.cluster;
    if (mine && (owner.guid === undefined || owner.guid === volume.guid)) return;
    const whose = volume.owner === undefined ? "nobody" : `volume ${volume.owner.volume} of cluster ${volume.owner.cluster}`;
    const why = mine ? `its guid is ${volume.guid}, not ${owner.guid ?? ""}` : `it belongs to ${whose}`;
    throw this.#reader.error("precondition", `use ${volume.dataset} for volume ${owner.volume}: ${why}`, {
      hint: "A dataset is used or destroyed only when its zfsilo:volume and zfsilo:cluster properties are ours.",
    });
  }

  /** Destroys one volume, never what depends on it. Done when it is gone from its imported pool. */
  async destroyVolume(dataset: DatasetName, o: CallOptions): Promise<void> {
    await this.#destroy(dataset, o);
  }

  /** False: the check did not pass, and nothing was done. */
  async #destroy(dataset: DatasetName, o: CallOptions, check?: SequencedCommand): Promise<boolean> {
    if (parentOf(dataset) === undefined) throw invalidField("dataset", "is a pool");
    const argv: Argv = ["zfs", "destroy", dataset];
    const question = questionOf(dataset);
    const rest = [{ argv }, { argv: argvOf(question) }] as const;
    const waits = pauses(busyBackoff);
    for (;;) {
      const results = await this.#reader.tool.sequence(check === undefined ? rest : [check, ...rest], o);
      const [result, left] = check === undefined ? results : results.slice(1);
      if (result === undefined) return false;
      if (left !== undefined) return this.#requireGone(dataset, this.#volumeIn(dataset, this.#reader.answerTo(question, left)));
      const failure = this.#reader.tool.failure(`destroy volume ${dataset}`, argv, result);
      if (failure.reason === "not_found") return this.#requireGone(dataset, await this.findVolume(dataset, o));
      const pause = failure.reason === "busy" ? waits.next() : undefined;
      if (pause === undefined) throw failure;
      if (pause.done === true) throw nameHolders(failure, await findHolders(this.#executor, zvolPath(dataset), o));
      // Its exit says only whether the limit passed; the next destroy tells what matters.
      await this.#executor.run(["udevadm", "settle", "--timeout=5"], o);
      await sleep(pause.value, undefined, { signal: o.signal });
    }
  }

  #requireGone(dataset: DatasetName, left: Zvol | undefined): true {
    if (left === undefined) return true;
    throw this.#reader.error("internal", `destroy volume ${dataset}: it is still there`);
  }

  #volumeIn(dataset: DatasetName, { argv, stdout, properties: all }: FoundProperties): Zvol | undefined {
    const properties = all.get(dataset);
    if (properties === undefined) return undefined;
    const type = properties["type"]?.value;
    if (type !== "volume") throw this.#reader.error("precondition", `read volume ${dataset}: it is a ${type ?? "dataset"}`);
    return this.#reader.read(argv, stdout, () => parseZvol(dataset, properties));
  }

  #requireVolume(dataset: DatasetName, volume: Zvol | undefined): Zvol {
    if (volume === undefined) throw this.#reader.error("not_found", `read volume ${dataset}: it does not exist`);
    return volume;
  }

  #requireFilesystem(dataset: DatasetName, space: DatasetSpace): DatasetSpace {
    if (space.type !== "filesystem") {
      throw this.#reader.error("precondition", `use ${dataset} as a parent of volumes: it is a ${space.type}`);
    }
    return space;
  }

  /** Thousands take most of a second, in which nobody else would be answered. */
  async #readVolumes(argv: Argv, output: string): Promise<Zvol[]> {
    const volumes: Zvol[] = [];
    try {
      for (const volume of eachZvol(output)) {
        volumes.push(volume);
        if (volumes.length % volumesPerTurn === 0) await setImmediate();
      }
    } catch (error) {
      throw new CommandOutputError(this.#executor.host, { argv, output }, error);
    }
    return volumes;
  }
}
