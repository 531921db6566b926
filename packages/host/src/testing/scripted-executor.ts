import {
  FileOperationError,
  inTurn,
  StreamExitError,
  type Argv,
  type CallOptions,
  type Executor,
  type FileOperation,
  type FileResult,
  type PipeResult,
  type RunOptions,
  type RunResult,
  type Sequence,
} from "@zfsilo/command";
import { BugError } from "@zfsilo/lib";

export interface ScriptedRun {
  readonly argv: string;
  readonly exitCode?: number;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly error?: Error;
  /** For a stream: its pieces, in place of stdout. */
  readonly pieces?: readonly Uint8Array[];
  /** For a pipe, whose argv has a `|`: `exitCode` is the consumer's. */
  readonly producerExitCode?: number;
}

/** A file is a text; a directory lists its entries; a link has a target; an errno refuses whatever is tried on the path. */
export type ScriptedNode = string | { readonly entries: readonly string[] } | { readonly link: string } | { readonly errno: string };

/**
 * A host that answers exactly what a test wrote down. Commands must come in the scripted order; reads look up the nodes, and
 * what is not there is ENOENT; writes are only recorded. Anything else throws.
 */
export class ScriptedExecutor implements Executor {
  readonly host = "give";
  /** What was asked, one line an operation: `run …`, `mkdir …`, `write PATH CONTENT`; secrets as `[secret]`. */
  readonly log: string[] = [];
  /** One entry a batch. */
  readonly batches: FileOperation[][] = [];
  readonly nodes: Map<string, ScriptedNode>;
  readonly #runs: ScriptedRun[];
  /** Called before each batch is answered, to let the host change under the caller. */
  onBatch: (index: number, operations: readonly FileOperation[]) => void = () => undefined;

  constructor(script: { readonly runs?: readonly ScriptedRun[]; readonly nodes?: Readonly<Record<string, ScriptedNode>> } = {}) {
    this.#runs = [...(script.runs ?? [])];
    this.nodes = new Map(Object.entries(script.nodes ?? {}));
  }

  async run(argv: Argv, _options: RunOptions): Promise<RunResult> {
    const { exitCode = 0, stdout = "", stderr = "" } = await this.#next(argv);
    return { exitCode, stdout, stderr };
  }

  async sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    return await inTurn(this.host, commands, options, (argv, limits) => this.run(argv, limits));
  }

  async *stream(producer: Argv, consumer: Argv, _options: CallOptions): AsyncGenerator<Uint8Array, void, undefined> {
    const argv: Argv = [...producer, "|", ...consumer];
    const { exitCode = 0, pieces = [], stderr = "" } = await this.#next(argv);
    yield* pieces;
    if (exitCode !== 0) throw new StreamExitError(this.host, argv, exitCode, stderr);
  }

  async pipe(producer: Argv, consumer: Argv, _options: CallOptions): Promise<PipeResult> {
    const next = await this.#next([...producer, "|", ...consumer]);
    const { producerExitCode = 0, exitCode: consumerExitCode = 0, stdout = "", stderr = "" } = next;
    return { producerExitCode, consumerExitCode, stdout, stderr };
  }

  #next(argv: Argv): Promise<ScriptedRun> {
    this.log.push(`run ${argv.join(" ")}`);
    const next = this.#runs.shift();
    if (next?.argv !== argv.join(" ")) {
      return Promise.reject(new BugError(`unexpected command ${argv.join(" ")}; the script has ${next?.argv ?? "no more"}`));
    }
    return next.error === undefined ? Promise.resolve(next) : Promise.reject(next.error);
  }

  files(operations: readonly FileOperation[], _options: CallOptions): Promise<readonly FileResult[]> {
    this.onBatch(this.batches.length, operations);
    this.batches.push([...operations]);
    const results: FileResult[] = [];
    for (const [index, operation] of operations.entries()) {
      this.log.push(describe(operation));
      const result = this.#perform(operation);
      if (result.errno !== undefined && operation.tolerate?.includes(result.errno) !== true) {
        return Promise.reject(new FileOperationError(this.host, index, operation, result.errno));
      }
      results.push(result);
    }
    return Promise.resolve(results);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Commands the script still has; a test ends with none. */
  get leftOver(): number {
    return this.#runs.length;
  }

  #perform(operation: FileOperation): FileResult {
    const node = this.nodes.get(operation.path);
    if (node !== undefined && typeof node === "object" && "errno" in node) return { errno: node.errno };
    switch (operation.op) {
      case "read":
        return typeof node === "string" ? { text: node.slice(0, operation.maxBytes) } : { errno: "ENOENT" };
      case "readlink":
        if (node === undefined) return { errno: "ENOENT" };
        return typeof node === "object" && "link" in node ? { text: node.link } : { errno: "EINVAL" };
      case "list":
        return typeof node === "object" && "entries" in node ? { entries: node.entries } : { errno: "ENOENT" };
      case "read-glob": {
        const parts = operation.path.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
        const pattern = new RegExp(`^${parts.join("[^/]*")}$`);
        const files = [...this.nodes].flatMap(([path, found]) =>
          pattern.test(path) && typeof found === "string" ? [[path, found] as const] : [],
        );
        return { files: files.sort(([a], [b]) => (a < b ? -1 : 1)) };
      }
      case "mkdir":
      case "rmdir":
      case "unlink":
      case "symlink":
      case "write":
        return {};
    }
  }
}

/** For `o` in tests. */
export const callOptions: CallOptions = { signal: new AbortController().signal };

function describe(operation: FileOperation): string {
  const { op, path } = operation;
  if (op === "write") return `write ${path} ${operation.secret === true ? "[secret]" : operation.content}`;
  if (op === "symlink") return `symlink ${path} -> ${operation.target}`;
  return `${op} ${path}`;
}
