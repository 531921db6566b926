import { CommandOutputError, type Argv, type CallOptions, type Executor, type SequencedCommand } from "@zfsilo/command";
import { invalidField, pauses, StorageError } from "@zfsilo/lib";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { assignments, requireUserProperties } from "./assignments.ts";
import { snapshotGate } from "./gates.ts";
import { poolOf, type DatasetName } from "./names.ts";
import { argvOf, ZfsReader, type FoundProperties } from "./reader.ts";
import { datasetOf, poolOfSnapshot, type HoldTag, type SnapshotName } from "./snapshot-name.ts";
import { eachSnapshot, parseHolds, parseSnapshot, snapshotColumns, type ZfsSnapshot } from "./snapshot-parse.ts";

/** Set on the snapshots in the command that takes them. Those of one command have it in common. */
export type SnapshotProperties = Readonly<Record<"zfsilo:snapshot", string>>;

/** Whose a snapshot must be before it is destroyed. */
export interface ExpectedSnapshot {
  /** Its own `zfsilo:snapshot`. */
  readonly snapshot: string;
  /** The `zfsilo:cluster` of the dataset it is on. */
  readonly cluster: string;
  /** When known: a snapshot of the same name that was taken again is another one. */
  readonly guid?: string;
}

/** `deferred`: ZFS keeps it until its last clone and its last hold are gone. */
export type Destroyed = "destroyed" | "deferred";

/** A snapshot cannot go because of these. `has_dependents` while there are clones, `busy` when there are only holds. */
export class SnapshotInUseError extends StorageError {
  readonly clones: readonly string[];
  readonly holds: readonly string[];

  constructor(host: string, doing: string, clones: readonly string[], holds: readonly string[], cause: unknown) {
    const named = clones.length > 0 ? `: cloned as ${firstOf(clones)}` : holds.length > 0 ? `: held by the tags ${firstOf(holds)}` : "";
    super(clones.length > 0 ? "has_dependents" : "busy", `on ${host}: ${doing}${named}`, {
      cause,
      hint: clones.length > 0 ? "Destroy or promote those datasets on the host first." : "Release those tags on the host first.",
      details: { host, reason: clones.length > 0 ? "HAS_CLONES" : "HAS_HOLDS", ...(clones.length > 0 ? { clones: clones.join(",") } : {}), ...(holds.length > 0 ? { holds: holds.join(",") } : {}) },
    });
    this.name = "SnapshotInUseError";
    this.clones = clones;
    this.holds = holds;
  }
}

export interface RollbackOptions {
  readonly destroyLater?: boolean;
  /** Those that others took go as well. */
  readonly destroyForeign?: boolean;
}

/** A send that was just given up still has the snapshot open for a moment. */
const busyBackoff = { firstMs: 50, maxMs: 1000, limitMs: 5000 };

/** Three copies of a block on 4 KiB sectors. */
const mostMetadataBytes = 12_288;

/** About 10 ms of work. */
const snapshotsPerTurn = 200;

/** Snapshots of volumes. Every argument order and output is listed in COMMANDS.md. */
export class ZfsSnapshots {
  readonly #executor: Executor;
  readonly #reader: ZfsReader;

  constructor(executor: Executor) {
    this.#executor = executor;
    this.#reader = new ZfsReader(executor);
  }

  /**
   * Takes snapshots of volumes of one pool, all at the same instant and all or none, and reads them back in the order of
   * `names`. `already_exists` when one of the names is taken, `not_found` when one of the volumes is missing.
   */
  async create(names: readonly SnapshotName[], properties: SnapshotProperties, o: CallOptions): Promise<ZfsSnapshot[]> {
    const [first] = names;
    if (first === undefined) throw invalidField("snapshots", "is empty");
    if (new Set(names.map(datasetOf)).size < names.length) throw invalidField("snapshots", "names a volume twice");
    const pool = poolOfSnapshot(first);
    if (names.some((name) => poolOfSnapshot(name) !== pool)) throw invalidField("snapshots", "are not all in one pool");
    requireUserProperties(properties);
    const settings = assignments(properties).flatMap((assignment) => ["-o", assignment]);
    const doing = `take ${names.length === 1 ? "snapshot" : "snapshots"} ${names.join(", ")}`;
    const question = { pool, names, columns: snapshotColumns };
    const made = this.#snapshotsIn(names, await this.#reader.change(doing, ["zfs", "snapshot", ...settings, ...names], question, o));
    const snapshots = names.map((name) => {
      const snapshot = made.get(name);
      if (snapshot?.owner === properties["zfsilo:snapshot"]) return snapshot;
      throw this.#reader.error("internal", `${doing}: ${name} is ${snapshot === undefined ? "not there" : "another's"} afterwards`);
    });
    if (new Set(snapshots.map(({ createTxg }) => createTxg)).size > 1) {
      throw this.#reader.error("internal", `${doing}: they are not of one transaction group`);
    }
    return snapshots;
  }

  /** Undefined only when there is no such snapshot while its pool is imported (I3): a missing pool throws `unavailable`. */
  async find(name: SnapshotName, o: CallOptions): Promise<ZfsSnapshot | undefined> {
    return (await this.#findAll([name], o)).get(name);
  }

  async get(name: SnapshotName, o: CallOptions): Promise<ZfsSnapshot> {
    const snapshot = await this.find(name, o);
    if (snapshot === undefined) throw this.#reader.error("not_found", `read snapshot ${name}: it does not exist`);
    return snapshot;
  }

  /** The snapshots of all volumes directly in `parent`, in one command. */
  async list(parent: DatasetName, o: CallOptions): Promise<ZfsSnapshot[]> {
    return await this.#list(parent, 2, o);
  }

  /** The snapshots of one volume, oldest first. */
  async listOf(dataset: DatasetName, o: CallOptions): Promise<ZfsSnapshot[]> {
    const found = await this.#list(dataset, 1, o);
    return found.sort((a, b) => (a.createTxg < b.createTxg ? -1 : 1));
  }

  /** Throws `precondition` unless we took the snapshot and it is the expected one (I1). */
  requireOwner(found: ZfsSnapshot, owner: ExpectedSnapshot): void {
    const mine = found.owner === owner.snapshot && found.cluster === owner.cluster;
    if (mine && (owner.guid === undefined || owner.guid === found.guid)) return;
    const whose = found.owner === undefined ? "nobody of ours" : `snapshot ${found.owner} of cluster ${found.cluster ?? "-"}`;
    const why = mine ? `its guid is ${found.guid}, not ${owner.guid ?? ""}` : `it belongs to ${whose}`;
    throw this.#reader.error("precondition", `use ${found.name} for snapshot ${owner.snapshot}: ${why}`, {
      hint: "A snapshot is used or destroyed only when its own zfsilo:snapshot and its volume's zfsilo:cluster are ours.",
    });
  }

  /**
   * Destroys one snapshot if it is the expected one, never what depends on it. Absent is done. With `defer` one that has
   * clones or holds goes with the last of them; without, SnapshotInUseError names them. With a guid that is one round trip,
   * in which the check lets the destroying go on.
   */
  async destroy(
    name: SnapshotName,
    owner: ExpectedSnapshot,
    { defer = false }: { readonly defer?: boolean },
    o: CallOptions,
  ): Promise<Destroyed> {
    const { guid } = owner;
    const known = guid === undefined ? undefined : await this.#destroy(name, defer, o, snapshotGate(name, { ...owner, guid }));
    if (known !== undefined) return known;
    // Not what it is known as, or not there: what it is decides, and is said.
    const present = await this.find(name, o);
    if (present === undefined) return "destroyed";
    this.requireOwner(present, owner);
    if (present.deferred && defer) return "deferred";
    return (await this.#destroy(name, defer, o)) ?? "destroyed";
  }

  /** Destroys one that somebody else took, if it is the one that was looked at. Absent is done. */
  async destroyForeign(name: SnapshotName, guid: string, o: CallOptions): Promise<void> {
    const present = await this.find(name, o);
    if (present === undefined) return;
    if (present.guid !== guid) {
      throw this.#reader.error("aborted", `destroy snapshot ${name}: its guid is ${present.guid}, not ${guid}`, {
        hint: "It was taken anew meanwhile. Repeat the call.",
      });
    }
    await this.#destroy(name, false, o);
    if ((await this.find(name, o)) !== undefined) throw this.#reader.error("internal", `destroy snapshot ${name}: it is still there`);
  }

  /** Keeps it from being destroyed under a tag. Done when it has that tag already. */
  async hold(name: SnapshotName, tag: HoldTag, o: CallOptions): Promise<void> {
    const argv: Argv = ["zfs", "hold", tag, name];
    await this.#runUnless("already_exists", `hold snapshot ${name}`, argv, o);
    if (!((await this.holds([name], o)).get(name) ?? []).includes(tag)) {
      throw this.#reader.error("internal", `hold snapshot ${name}: it has no tag ${tag} afterwards`);
    }
  }

  /** Takes a tag off. Done when it is off already, or the snapshot is gone. A deferred snapshot goes with its last tag. */
  async release(name: SnapshotName, tag: HoldTag, o: CallOptions): Promise<void> {
    if ((await this.find(name, o)) === undefined) return;
    await this.#runUnless("not_found", `release snapshot ${name}`, ["zfs", "release", tag, name], o);
    if ((await this.find(name, o)) === undefined) return;
    if ((await this.holds([name], o)).get(name)?.includes(tag) === true) {
      throw this.#reader.error("internal", `release snapshot ${name}: it still has the tag ${tag}`);
    }
  }

  /** The tags by snapshot; one that has none is left out. All must exist. */
  async holds(names: readonly SnapshotName[], o: CallOptions): Promise<ReadonlyMap<SnapshotName, readonly string[]>> {
    if (names.length === 0) return new Map();
    const argv: Argv = ["zfs", "holds", "-H", ...names];
    const stdout = await this.#reader.tool.run(`read the holds of ${names.join(", ")}`, argv, o);
    return this.#reader.read(argv, stdout, parseHolds) as Map<SnapshotName, string[]>;
  }

  /**
   * Takes a volume back to a snapshot of it. Later snapshots are in the way: `has_dependents`, naming them, or with
   * `destroyLater` each is destroyed first, newest first, if it is one of ours without clones and holds, or of others and
   * `destroyForeign` is given; if one is not, nothing is. `zfs rollback -r` is never used: it would take a snapshot along that
   * somebody made by hand meanwhile.
   */
  async rollback(name: SnapshotName, { destroyLater = false, destroyForeign = false }: RollbackOptions, o: CallOptions): Promise<void> {
    const doing = `roll back to ${name}`;
    const all = await this.listOf(datasetOf(name), o);
    const target = all.find((snapshot) => snapshot.name === name);
    if (target === undefined) throw this.#reader.error("not_found", `${doing}: it does not exist`);
    const later = all.filter(({ createTxg }) => createTxg > target.createTxg);
    const foreign = later.filter((one) => isForeign(one, target));
    if (foreign.length > 0 && !destroyForeign) throw this.#foreignSnapshots(doing, foreign);
    if (later.length > foreign.length && !destroyLater) throw this.#laterSnapshots(doing, later);
    for (const snapshot of later) await this.#requireExpendable(doing, snapshot, o);
    for (const one of later.reverse()) {
      const { name: each, guid, owner = "", cluster = "" } = one;
      if (isForeign(one, target)) await this.destroyForeign(each, guid, o);
      else await this.destroy(each, { snapshot: owner, cluster, guid }, {}, o);
    }
    await this.#reader.tool.run(doing, ["zfs", "rollback", name], o);
    await this.#requireRolledBack(doing, target, o);
  }

  #laterSnapshots(doing: string, later: readonly ZfsSnapshot[]): StorageError {
    const names = later.map((snapshot) => snapshot.name).join(", ");
    return this.#reader.error("has_dependents", `${doing}: later snapshots exist: ${names}`, {
      details: { snapshots: later.map((snapshot) => snapshot.name).join(",") },
      hint: "Ask for later snapshots to be destroyed, or clone the snapshot.",
    });
  }

  #foreignSnapshots(doing: string, foreign: readonly ZfsSnapshot[]): StorageError {
    const names = firstOf(foreign.map(({ name }) => name));
    return this.#reader.error("has_dependents", `${doing}: later snapshots exist that are none of ours: ${names}`, {
      details: { reason: "HAS_SNAPSHOTS", dependants: names },
      hint: "Destroy them by hand, or set delete_foreign_snapshots. Keep tools that take snapshots off zfsilo's datasets.",
    });
  }

  async #requireExpendable(doing: string, snapshot: ZfsSnapshot, o: CallOptions): Promise<void> {
    const { name, clones } = snapshot;
    if (clones.length === 0 && snapshot.holds === 0) return;
    const holds = snapshot.holds === 0 ? [] : ((await this.holds([name], o)).get(name) ?? []);
    throw new SnapshotInUseError(this.#executor.host, `${doing}: the later snapshot ${name} is in use`, clones, holds, undefined);
  }

  /**
   * zfsprops(7): `written` is what was written since the newest snapshot. After a rollback that is none of the data, and now
   * and then 1 KiB of metadata (2 copies of a block; ZFS 2.1.11 on 512-byte sectors).
   */
  async #requireRolledBack(doing: string, target: ZfsSnapshot, o: CallOptions): Promise<void> {
    const dataset = datasetOf(target.name);
    const newest = (await this.listOf(dataset, o)).at(-1);
    const { properties } = await this.#reader.findProperties(poolOf(dataset), [dataset], "written,volsize", o);
    const found = properties.get(dataset);
    const same = newest?.guid === target.guid && found?.["volsize"]?.value === target.sizeBytes.toString();
    if (same && Number(found["written"]?.value) <= mostMetadataBytes) return;
    throw this.#reader.error("internal", `${doing}: the volume differs from it afterwards`);
  }

  /** Undefined: the check did not pass, and nothing was done. */
  async #destroy(name: SnapshotName, defer: boolean, o: CallOptions, check?: SequencedCommand): Promise<Destroyed | undefined> {
    const doing = `destroy snapshot ${name}`;
    const argv: Argv = ["zfs", "destroy", ...(defer ? ["-d"] : []), name];
    const question = { pool: poolOfSnapshot(name), names: [name], columns: snapshotColumns };
    const rest = [{ argv }, { argv: argvOf(question) }] as const;
    const waits = pauses(busyBackoff);
    for (;;) {
      const results = await this.#reader.tool.sequence(check === undefined ? rest : [check, ...rest], o);
      const [result, answer] = check === undefined ? results : results.slice(1);
      if (result === undefined) return undefined;
      if (answer !== undefined) return this.#fateOf(name, defer, this.#snapshotsIn([name], this.#reader.answerTo(question, answer)).get(name));
      const failure = this.#reader.tool.failure(doing, argv, result);
      if (!["not_found", "busy", "has_dependents"].includes(failure.reason)) throw failure;
      const present = await this.find(name, o);
      if (present === undefined) return "destroyed";
      if (failure.reason === "not_found") return this.#fateOf(name, defer, present);
      const holds = present.holds === 0 ? [] : ((await this.holds([name], o)).get(name) ?? []);
      if (present.clones.length > 0 || holds.length > 0) {
        throw new SnapshotInUseError(this.#executor.host, doing, present.clones, holds, failure);
      }
      const pause = waits.next();
      if (pause.done === true) throw failure;
      await sleep(pause.value, undefined, { signal: o.signal });
    }
  }

  #fateOf(name: SnapshotName, defer: boolean, left: ZfsSnapshot | undefined): Destroyed {
    if (left === undefined) return "destroyed";
    if (defer && left.deferred) return "deferred";
    throw this.#reader.error("internal", `destroy snapshot ${name}: it is still there`);
  }

  async #runUnless(done: StorageError["reason"], doing: string, argv: Argv, o: CallOptions): Promise<void> {
    const result = await this.#reader.tool.exit(argv, o);
    if (result.exitCode === 0) return;
    const failure = this.#reader.tool.failure(doing, argv, result);
    if (failure.reason !== done) throw failure;
  }

  async #findAll(names: readonly SnapshotName[], o: CallOptions): Promise<Map<SnapshotName, ZfsSnapshot>> {
    const [first] = names;
    if (first === undefined) return new Map();
    return this.#snapshotsIn(names, await this.#reader.findProperties(poolOfSnapshot(first), names, snapshotColumns, o));
  }

  #snapshotsIn(names: readonly SnapshotName[], { argv, stdout, properties }: FoundProperties): Map<SnapshotName, ZfsSnapshot> {
    return this.#reader.read(argv, stdout, () => {
      const found = new Map<SnapshotName, ZfsSnapshot>();
      for (const name of names) {
        const own = properties.get(name);
        if (own !== undefined) found.set(name, parseSnapshot(name, own));
      }
      return found;
    });
  }

  async #list(root: DatasetName, depth: 1 | 2, o: CallOptions): Promise<ZfsSnapshot[]> {
    const columns = ["-o", "name,property,value,source", snapshotColumns];
    const argv: Argv = ["zfs", "get", "-Hp", "-d", String(depth), "-t", "snapshot", ...columns, root];
    const result = await this.#reader.tool.exit(argv, { ...o, timeoutMs: o.timeoutMs ?? 120_000, maxOutputBytes: 64 << 20 });
    if (result.exitCode !== 0) {
      const failure = this.#reader.tool.failure(`list snapshots of ${root}`, argv, result);
      if (failure.reason === "not_found") await this.#reader.requirePool(`read ${root}`, poolOf(root), o);
      throw failure;
    }
    const snapshots: ZfsSnapshot[] = [];
    try {
      for (const snapshot of eachSnapshot(result.stdout)) {
        snapshots.push(snapshot);
        if (snapshots.length % snapshotsPerTurn === 0) await setImmediate();
      }
    } catch (error) {
      throw new CommandOutputError(this.#executor.host, { argv, output: result.stdout }, error);
    }
    return snapshots;
  }
}

/** Taken by others. What they take inherits the marks of the volume, and has no mark of its own. */
function isForeign({ owner, cluster }: ZfsSnapshot, ours: ZfsSnapshot): boolean {
  return owner === undefined || cluster === undefined || cluster !== ours.cluster;
}

const mostNamed = 20;

/** Names in errors travel in headers, which have room for little. */
function firstOf(names: readonly string[]): string {
  const more = names.length - mostNamed;
  return more > 0 ? `${names.slice(0, mostNamed).join(", ")} and ${more} more` : names.join(", ");
}
