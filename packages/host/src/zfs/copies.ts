import type { Argv, CallOptions, Executor } from "@zfsilo/command";
import { bytes, formatBytes, invalidField, parseBytes, StorageError, type Bytes } from "@zfsilo/lib";
import { setTimeout as sleep } from "node:timers/promises";
import { assignments, requireUserProperties } from "./assignments.ts";
import type { CloneSpec } from "./clones.ts";
import { fitVolume, requireNoBlockSize } from "./fit.ts";
import type { Owner, Zvol } from "./parse.ts";
import { sendTimeoutMs } from "./ranges.ts";
import { ZfsReader } from "./reader.ts";
import { handleOf, snapshotOf, type SnapshotName } from "./snapshot-name.ts";
import { ZfsSnapshots } from "./snapshots.ts";
import { Zfs } from "./zfs.ts";

/** What a copy is asked for: a clone's terms, and marks it cannot do without. */
export interface CopySpec extends CloneSpec {
  readonly owner: Owner;
  readonly onProgress?: (progress: CopyProgress) => void;
}

export interface CopyProgress {
  /** What the new volume holds by now. */
  readonly copiedBytes: Bytes;
  /** What zfs reckons that it will be; the real number may be a little above or below. */
  readonly totalBytes: Bytes;
}

const progressEveryMs = 2000;

/** Full copies within a host: `zfs send | zfs receive`. They share nothing with their source. */
export class ZfsCopies {
  readonly #executor: Executor;
  readonly #reader: ZfsReader;
  readonly #zfs: Zfs;
  readonly #snapshots: ZfsSnapshots;

  constructor(executor: Executor) {
    this.#executor = executor;
    this.#reader = new ZfsReader(executor);
    this.#zfs = new Zfs(executor);
    this.#snapshots = new ZfsSnapshots(executor);
  }

  /**
   * Copies a snapshot into a volume that is not there yet, and reads it back. `already_exists` when it is, whosever it is:
   * nothing is ever received over. The marks are set before the first byte (I1). A copy that fails is destroyed again; one
   * that we died in ends with us, and what it left is inconsistent, goes by itself, or is destroyed by its marks.
   */
  async copy(spec: CopySpec, o: CallOptions): Promise<Zvol> {
    const { snapshot, dataset, sizeBytes } = spec;
    const doing = `copy ${snapshot} to ${dataset}`;
    const marks = { ...spec.userProperties, "zfsilo:volume": spec.owner.volume, "zfsilo:cluster": spec.owner.cluster };
    requireUserProperties(marks);
    requireNoBlockSize(spec.options);
    const source = await this.#snapshots.get(snapshot, o);
    if (sizeBytes !== undefined && sizeBytes < source.sizeBytes) {
      throw invalidField("size_bytes", `is less than the ${formatBytes(source.sizeBytes)} of ${snapshot}`);
    }
    if ((await this.#zfs.findVolume(dataset, o)) !== undefined) {
      throw this.#reader.error("already_exists", `${doing}: there is a volume of this name`);
    }
    const totalBytes = await this.#size(snapshot, o);
    const settings = assignments({ ...spec.options, ...marks }).flatMap((assignment) => ["-o", assignment]);
    const stopWatching = this.#watch(spec, totalBytes, o);
    try {
      await this.#transfer(doing, ["zfs", "send", snapshot], ["zfs", "receive", ...settings, dataset], o);
    } catch (error) {
      await this.#cleanUp(spec, error);
      throw error;
    } finally {
      await stopWatching();
    }
    return await this.#finish(doing, spec, source.guid, o);
  }

  /**
   * Destroys what a copy left that nobody saw the end of: the volume by its marks, and the snapshot that came with it, which has
   * none. Absent is done.
   */
  async discard({ snapshot, dataset, owner }: Pick<CopySpec, "snapshot" | "dataset" | "owner">, o: CallOptions): Promise<void> {
    const present = await this.#zfs.findVolume(dataset, o);
    if (present === undefined) return;
    this.#zfs.requireOwner(present, owner);
    const received = snapshotOf(dataset, handleOf(snapshot));
    if ((await this.#snapshots.find(received, o)) !== undefined) {
      await this.#reader.tool.run(`destroy snapshot ${received}`, ["zfs", "destroy", received], o);
    }
    await this.#zfs.destroyOwnedVolume(dataset, owner, o);
  }

  async #transfer(doing: string, producer: Argv, consumer: Argv, o: CallOptions): Promise<void> {
    const options = { ...o, timeoutMs: o.timeoutMs ?? sendTimeoutMs };
    const { producerExitCode, consumerExitCode, stdout, stderr } = await this.#executor.pipe(producer, consumer, options);
    // The receiver first: when it refuses, the sender only finds its pipe closed.
    if (consumerExitCode !== 0) throw this.#reader.tool.failure(doing, consumer, { exitCode: consumerExitCode, stdout, stderr });
    if (producerExitCode !== 0) throw this.#reader.tool.failure(doing, producer, { exitCode: producerExitCode, stdout, stderr });
  }

  /** The received snapshot has done its part. It has no mark of ours, but the guid of the one it is a copy of. */
  async #finish(doing: string, spec: CopySpec, guid: string, o: CallOptions): Promise<Zvol> {
    const { dataset, owner } = spec;
    const made = await this.#zfs.getVolume(dataset, o);
    this.#zfs.requireOwner(made, owner);
    const received = snapshotOf(dataset, handleOf(spec.snapshot));
    const found = await this.#snapshots.find(received, o);
    if (found?.guid !== guid) throw this.#reader.error("internal", `${doing}: its snapshot is not the source's afterwards`);
    await this.#reader.tool.run(`destroy snapshot ${received}`, ["zfs", "destroy", received], o);
    if ((await this.#snapshots.find(received, o)) !== undefined) {
      throw this.#reader.error("internal", `destroy snapshot ${received}: it is still there`);
    }
    return await fitVolume(this.#zfs, this.#reader, made, { sizeBytes: spec.sizeBytes ?? made.sizeBytes, sparse: spec.sparse }, o);
  }

  /** On a signal of its own: it is needed most when the caller has given up. */
  async #cleanUp({ dataset, owner }: CopySpec, cause: unknown): Promise<void> {
    if (cause instanceof StorageError && cause.reason === "already_exists") return;
    const o: CallOptions = { signal: AbortSignal.timeout(60_000) };
    // What cannot be cleaned up now is found by its marks later; the caller is told what went wrong in the first place.
    await this.#zfs.destroyOwnedVolume(dataset, owner, o).catch(() => undefined);
  }

  /** `zfs send -nP` ends with `size\tBYTES`. */
  async #size(snapshot: SnapshotName, o: CallOptions): Promise<Bytes> {
    const argv: Argv = ["zfs", "send", "-nP", snapshot];
    const stdout = await this.#reader.tool.run(`read the size of ${snapshot}`, argv, o);
    return this.#reader.read(argv, stdout, (text) => {
      const size = /^size\t(\d+)$/m.exec(text)?.[1];
      if (size === undefined) throw new Error("no size");
      return parseBytes(size);
    });
  }

  /** Looks at the growing volume until told to stop. What it cannot see it leaves out: this is for people. */
  #watch({ dataset, onProgress }: CopySpec, totalBytes: Bytes, o: CallOptions): () => Promise<void> {
    if (onProgress === undefined) return () => Promise.resolve();
    const done = new AbortController();
    const watching = (async () => {
      onProgress({ copiedBytes: bytes(0), totalBytes });
      for (;;) {
        await sleep(progressEveryMs, undefined, { signal: done.signal });
        const copiedBytes = await this.#received(dataset, o).catch(() => undefined);
        if (copiedBytes !== undefined) onProgress({ copiedBytes, totalBytes });
      }
    })().catch(() => undefined);
    return async () => {
      done.abort();
      await watching;
    };
  }

  async #received(dataset: string, o: CallOptions): Promise<Bytes | undefined> {
    const argv: Argv = ["zfs", "get", "-Hp", "-o", "value", "referenced", dataset];
    const { exitCode, stdout } = await this.#reader.tool.exit(argv, o);
    return exitCode === 0 && /^\d+\n$/.test(stdout) ? parseBytes(stdout.trim()) : undefined;
  }
}
