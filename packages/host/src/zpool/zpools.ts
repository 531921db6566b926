import { CommandOutputError, type Argv, type CallOptions, type Executor, type RunResult } from "@zfsilo/command";
import { bytes, parseBytes, StorageError, type Bytes } from "@zfsilo/lib";
import { z } from "zod";
import { Tool } from "../tool.ts";
import { zfsFailures } from "../zfs/errors.ts";
import { parsePoolName, type DatasetName, type PoolName } from "../zfs/names.ts";
import { parseProperties, parseSpace, spaceColumns, type DatasetSpace } from "../zfs/parse.ts";
import { parsePoolStatuses, type PoolStatus } from "./status.ts";

export interface PoolFacts {
  readonly name: PoolName;
  readonly guid: string;
  readonly sizeBytes: Bytes;
  readonly allocatedBytes: Bytes;
  readonly freeBytes: Bytes;
  readonly fragmentationPercent: number;
  readonly health: string;
  readonly readonly: boolean;
  readonly ashift: number;
}

export const poolFactColumns = "name,guid,size,allocated,free,fragmentation,health,readonly,ashift";

const size = z.union([z.literal("-").transform(() => bytes(0)), z.string().regex(/^\d+$/).transform(parseBytes)]);
const count = z.union([z.literal("-").transform(() => 0), z.string().regex(/^\d+$/).transform(Number)]);
const factLine = z.tuple([z.string(), z.string(), size, size, size, count, z.string(), z.enum(["on", "off", "-"]), count]);

const listArgv: Argv = ["zpool", "list", "-Hp", "-o", poolFactColumns];

const nothing: RunResult = { exitCode: -1, stdout: "", stderr: "" };

function spacesArgv(datasets: readonly DatasetName[]): Argv {
  return ["zfs", "get", "-Hp", "-o", "name,property,value,source", spaceColumns, ...datasets];
}

/** Pools as a whole. zpool answers also where zfs waits for ever, on a pool whose I/O is suspended. */
export class Zpools {
  readonly #executor: Executor;
  readonly #tool: Tool;

  constructor(executor: Executor) {
    this.#executor = executor;
    this.#tool = new Tool(executor, zfsFailures);
  }

  /** The imported pools. */
  async list(o: CallOptions): Promise<PoolFacts[]> {
    return this.#read(listArgv, await this.#tool.run("list pools", listArgv, o), parseFacts);
  }

  /** Devices, scrub and errors of one imported pool. */
  async status(pool: PoolName, o: CallOptions): Promise<PoolStatus> {
    const argv: Argv = ["zpool", "status", "-p", pool];
    const stdout = await this.#tool.run(`read the status of pool ${pool}`, argv, o);
    const [status] = this.#read(argv, stdout, parsePoolStatuses);
    if (status?.name !== pool) throw new CommandOutputError(this.#executor.host, { argv, output: stdout });
    return status;
  }

  /** Space of several datasets of imported pools, in one command. Those that do not exist are left out. */
  async spaces(datasets: readonly [DatasetName, ...DatasetName[]], o: CallOptions): Promise<ReadonlyMap<string, DatasetSpace>> {
    const argv = spacesArgv(datasets);
    return this.#readSpaces(argv, datasets, await this.#tool.exit(argv, o));
  }

  /**
   * The imported pools and the space of datasets of them in one round trip. No `spaces` when a pool is in one of the states
   * in `still`: whatever asks zfs may wait there for ever, so it is not asked.
   */
  async survey(
    datasets: readonly [DatasetName, ...DatasetName[]],
    still: readonly string[],
    o: CallOptions,
  ): Promise<{ readonly pools: readonly PoolFacts[]; readonly spaces: ReadonlyMap<string, DatasetSpace> | undefined }> {
    const list = { argv: listArgv, gate: { without: still.map((state) => `\t${state}\t`) } };
    const argv = spacesArgv(datasets);
    const [listed, found] = await this.#tool.sequence([list, { argv }], o);
    if (listed?.exitCode !== 0) throw this.#tool.failure("list pools", listArgv, listed ?? nothing);
    const pools = this.#read(listArgv, listed.stdout, parseFacts);
    return { pools, spaces: found && this.#readSpaces(argv, datasets, found) };
  }

  #readSpaces(argv: Argv, datasets: readonly DatasetName[], result: RunResult): ReadonlyMap<string, DatasetSpace> {
    const failure = result.exitCode === 0 ? undefined : this.#tool.failure(`read the space of ${datasets.join(", ")}`, argv, result);
    if (failure !== undefined && failure.reason !== "not_found") throw failure;
    const found = this.#read(argv, result.stdout, (text) => new Map([...parseProperties(text)].map(([name, props]) => [name, parseSpace(props)])));
    for (const dataset of datasets) {
      const absent = result.stderr.includes(`cannot open '${dataset}': dataset does not exist`);
      if (!found.has(dataset) && !absent) throw new CommandOutputError(this.#executor.host, { argv, output: result.stdout });
    }
    return found;
  }

  /** Limits what a dataset and all below it may take, or with 0n ends the limit. Refused while more than that is in use. */
  async setQuota(dataset: DatasetName, quotaBytes: bigint, o: CallOptions): Promise<void> {
    const value = quotaBytes === 0n ? "none" : quotaBytes.toString();
    const set: Argv = ["zfs", "set", `quota=${value}`, dataset];
    const look = spacesArgv([dataset]);
    const [changed, found] = await this.#tool.sequence([{ argv: set }, { argv: look }], o);
    if (changed === undefined || found === undefined) throw this.#tool.failure(`set the quota of ${dataset}`, set, changed ?? nothing);
    const space = this.#readSpaces(look, [dataset], found).get(dataset);
    if (space?.quotaBytes === quotaBytes) return;
    throw new StorageError("internal", `set the quota of ${dataset} on ${this.#executor.host}: it reads back as ${space?.quotaBytes ?? "-"}`);
  }

  #read<T>(argv: Argv, stdout: string, parse: (stdout: string) => T): T {
    try {
      return parse(stdout);
    } catch (error) {
      throw new CommandOutputError(this.#executor.host, { argv, output: stdout }, error);
    }
  }
}

/** `tank\t1644952445162711370\t8053063680\t136704\t8052926976\t0\tONLINE\toff\t0` */
export function parseFacts(stdout: string): PoolFacts[] {
  return stdout.split("\n").filter(Boolean).map((line) => {
    const [name, guid, sizeBytes, allocatedBytes, freeBytes, fragmentationPercent, health, readonly, ashift] = factLine.parse(line.split("\t"));
    const space = { sizeBytes, allocatedBytes, freeBytes, fragmentationPercent };
    return { name: parsePoolName(name), guid, ...space, health, readonly: readonly === "on", ashift };
  });
}
