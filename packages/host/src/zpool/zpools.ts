import { CommandOutputError, type Argv, type CallOptions, type Executor } from "@zfsilo/command";
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
    const argv: Argv = ["zpool", "list", "-Hp", "-o", poolFactColumns];
    return this.#read(argv, await this.#tool.run("list pools", argv, o), parseFacts);
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
    const argv: Argv = ["zfs", "get", "-Hp", "-o", "name,property,value,source", spaceColumns, ...datasets];
    const result = await this.#tool.exit(argv, o);
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
    await this.#tool.run(`set the quota of ${dataset}`, ["zfs", "set", `quota=${value}`, dataset], o);
    const space = (await this.spaces([dataset], o)).get(dataset);
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
