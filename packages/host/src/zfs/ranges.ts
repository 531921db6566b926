import { CommandOutputError, missingProgramHint, StreamExitError, type Argv, type CallOptions, type Executor } from "@zfsilo/command";
import { invalidField, type Bytes } from "@zfsilo/lib";
import { RangeParser, type ByteRange, type RangeQuery } from "./range-parser.ts";
import { ZfsReader } from "./reader.ts";
import type { SnapshotName } from "./snapshot-name.ts";
import { ZfsSnapshots } from "./snapshots.ts";

export interface RangeOptions {
  /** Ranges that end at or before it are left out: to go on after a broken stream. The whole stream is read all the same. */
  readonly startOffset?: Bytes;
}

/** How long `zfs send` may take: a terabyte at 50 MB/s. */
export const sendTimeoutMs = 6 * 60 * 60 * 1000;

/** Prints the records and leaves out the data, and the checksums (-C) unchecked. Part of ZFS since 2.0. */
const dump: Argv = ["zstream", "dump", "-Cv"];

/**
 * Where a snapshot holds data and where two differ, from the records of `zfs send`, which are read on the host: the data does
 * not leave it (docs/decisions/0030). Each is a stream of batches: what was found in one piece of output, so that memory stays
 * the same for any volume. Whoever stops reading ends the send.
 */
export class ZfsRanges {
  readonly #executor: Executor;
  readonly #reader: ZfsReader;
  readonly #snapshots: ZfsSnapshots;

  constructor(executor: Executor) {
    this.#executor = executor;
    this.#reader = new ZfsReader(executor);
    this.#snapshots = new ZfsSnapshots(executor);
  }

  /** The ranges of a snapshot that hold data, ascending; the rest reads as zeros. */
  async *allocated(snapshot: SnapshotName, options: RangeOptions, o: CallOptions): AsyncGenerator<readonly ByteRange[], void, undefined> {
    const { sizeBytes, guid } = await this.#snapshots.get(snapshot, o);
    yield* this.#read(["zfs", "send", snapshot], { ...options, sizeBytes, toGuid: guid }, o);
  }

  /**
   * The ranges in which two snapshots of one volume may differ, ascending: none missing, some perhaps the same. Holes beside
   * what was written come with it: zfs does not rely on when a hole was made (zfs(4), send_holes_without_birth_time), so that
   * one write can bring along every hole of the same indirect blocks, which is the empty part of a sparse volume.
   */
  async *changed(
    base: SnapshotName,
    target: SnapshotName,
    options: RangeOptions,
    o: CallOptions,
  ): AsyncGenerator<readonly ByteRange[], void, undefined> {
    const [from, to] = await Promise.all([this.#snapshots.get(base, o), this.#snapshots.get(target, o)]);
    if (from.createTxg >= to.createTxg) throw invalidField("base", `${base} is not older than ${target}`);
    const query = { ...options, sizeBytes: to.sizeBytes, toGuid: to.guid, fromGuid: from.guid };
    yield* this.#read(["zfs", "send", "-i", base, target], query, o);
  }

  async *#read(send: Argv, query: RangeQuery, o: CallOptions): AsyncGenerator<readonly ByteRange[], void, undefined> {
    const parser = new RangeParser(query);
    const parse = (work: () => ByteRange[]): ByteRange[] => {
      try {
        return work();
      } catch (error) {
        throw new CommandOutputError(this.#executor.host, { argv: [...send, "|", ...dump], output: "(a dump of records)" }, error);
      }
    };
    try {
      for await (const piece of this.#executor.stream(send, dump, { ...o, timeoutMs: o.timeoutMs ?? sendTimeoutMs })) {
        const found = parse(() => parser.push(piece));
        if (found.length > 0) yield found;
      }
    } catch (error) {
      throw this.#failure(send, error);
    }
    const last = parse(() => parser.end());
    if (last.length > 0) yield last;
  }

  #failure(send: Argv, error: unknown): unknown {
    if (!(error instanceof StreamExitError)) return error;
    const doing = `read ${send.at(-1) ?? ""}`;
    if (error.result.exitCode !== 127) return this.#reader.tool.failure(doing, send, error.result);
    const hint = missingProgramHint(this.#executor.host, dump);
    return this.#reader.error("precondition", `${doing}: there is no zstream`, { hint, cause: error });
  }
}
