import { CommandOutputError, type Argv, type CallOptions, type Executor, type RunOptions, type RunResult } from "@zfsilo/command";
import { StorageError } from "@zfsilo/lib";
import { Tool } from "../tool.ts";
import { zfsFailures } from "./errors.ts";
import type { PoolName } from "./names.ts";
import { parsePools, parseProperties, poolColumns, type Pool, type PropertiesByDataset } from "./parse.ts";

export interface FoundProperties {
  readonly argv: Argv;
  readonly stdout: string;
  /** Without those that do not exist. */
  readonly properties: PropertiesByDataset;
}

/** What to read of which names of one pool. */
export interface Question {
  readonly pool: PoolName;
  readonly names: readonly string[];
  readonly columns: string;
}

export function argvOf({ pool, names, columns }: Question): Argv {
  return ["zfs", "get", "-Hp", "-o", "name,property,value,source", columns, pool, ...names.filter((name) => name !== (pool as string))];
}

const noResult: RunResult = { exitCode: -1, stdout: "", stderr: "" };

/** What the wrappers over zfs(8) share: the tool, and reading without mistaking one kind of absence for another. */
export class ZfsReader {
  readonly tool: Tool;
  readonly #executor: Executor;

  constructor(executor: Executor) {
    this.#executor = executor;
    this.tool = new Tool(executor, zfsFailures);
  }

  /**
   * Properties of some names of one pool. One command answers both "is it there" and "is its pool imported": zfs get prints
   * what it found of the names given and complains about the others. A missing pool throws `unavailable`.
   */
  async findProperties(pool: PoolName, names: readonly string[], columns: string, o: CallOptions): Promise<FoundProperties> {
    const question = { pool, names, columns };
    return this.answerTo(question, await this.tool.exit(argvOf(question), o));
  }

  /** Runs a command that must succeed, and reads properties back in the same round trip. */
  async change(doing: string, argv: Argv, question: Question, o: RunOptions): Promise<FoundProperties> {
    const [changed, answer] = await this.tool.sequence([{ argv }, { argv: argvOf(question) }], o);
    if (changed === undefined || answer === undefined) throw this.tool.failure(doing, argv, changed ?? noResult);
    return this.answerTo(question, answer);
  }

  answerTo(question: Question, result: RunResult): FoundProperties {
    const { pool, names } = question;
    const argv = argvOf(question);
    const doing = `read ${names.join(", ")}`;
    const failure = result.exitCode === 0 ? undefined : this.tool.failure(doing, argv, result);
    if (failure !== undefined && failure.reason !== "not_found") throw failure;
    const properties = this.read(argv, result.stdout, parseProperties);
    if (!properties.has(pool)) throw this.poolMissing(doing, pool, failure);
    for (const name of names) {
      if (properties.has(name) || result.stderr.includes(`cannot open '${name}': dataset does not exist`)) continue;
      throw new CommandOutputError(this.#executor.host, { argv, output: result.stdout });
    }
    return { argv, stdout: result.stdout, properties };
  }

  /** Undefined when no pool of this name is imported. */
  async findPool(name: PoolName, o: CallOptions): Promise<Pool | undefined> {
    const argv: Argv = ["zpool", "list", "-Hp", "-o", poolColumns, name];
    const result = await this.tool.exit(argv, o);
    if (result.exitCode === 0) return this.read(argv, result.stdout, parsePools)[0];
    const failure = this.tool.failure(`read pool ${name}`, argv, result);
    if (failure.reason === "not_found") return undefined;
    throw failure;
  }

  async requirePool(doing: string, pool: PoolName, o: CallOptions): Promise<void> {
    if ((await this.findPool(pool, o)) === undefined) throw this.poolMissing(doing, pool);
  }

  poolMissing(doing: string, pool: PoolName, cause?: unknown): StorageError {
    return this.error("unavailable", `${doing}: pool ${pool} is not imported`, {
      hint: "Import the pool on the host (zpool import).",
      ...(cause === undefined ? {} : { cause }),
    });
  }

  read<T>(argv: Argv, stdout: string, parse: (stdout: string) => T): T {
    try {
      return parse(stdout);
    } catch (error) {
      throw new CommandOutputError(this.#executor.host, { argv, output: stdout }, error);
    }
  }

  error(
    reason: StorageError["reason"],
    doing: string,
    more: { readonly hint?: string; readonly cause?: unknown; readonly details?: Readonly<Record<string, string>> } = {},
  ): StorageError {
    const { host } = this.#executor;
    return new StorageError(reason, `on ${host}: ${doing}`, { ...more, details: { host, ...more.details } });
  }
}
