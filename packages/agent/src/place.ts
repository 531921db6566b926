import { CommandError, LocalExecutor, missingProgramHint, systemPath, type Argv, type CallOptions, type Executor, type FileOperation, type FileResult, type PipeOptions, type PipeResult, type RunOptions, type RunResult, type Sequence, type SequencedCommand, type StreamOptions } from "@zfsilo/command";
import { access, constants } from "node:fs/promises";

/**
 * Where the host is, seen from the agent's process:
 * - `host`: here;
 * - `nsenter`: in the namespaces of process 1, which the container shares the process ids of (hostPID);
 * - `chroot`: below a directory on which the container mounts the host's root, with its mounts passed on in both directions.
 */
export type Place = { readonly kind: "host" } | { readonly kind: "nsenter" } | { readonly kind: "chroot"; readonly root: string };

/** Acts on the host that a container runs on. iscsid, its database and the mounts are the host's, not the container's. */
export function executorAt(place: Place, host: string): Executor {
  switch (place.kind) {
    case "host":
      return new LocalExecutor(host);
    case "nsenter":
      // Of /proc/1/root the kernel follows paths within that process's mount namespace (proc(5)).
      return new PlacedExecutor(new LocalExecutor(host), {
        root: "/proc/1/root",
        mountinfo: "/proc/1/mountinfo",
        prefix: ["nsenter", "--target", "1", "--mount", "--uts", "--ipc", "--net", "--"],
      });
    case "chroot":
      return new PlacedExecutor(new LocalExecutor(host), { root: place.root, mountinfo: "/proc/self/mountinfo", prefix: ["chroot", place.root] });
  }
}

interface Placement {
  readonly root: string;
  readonly mountinfo: string;
  readonly prefix: readonly [string, ...string[]];
}

const ownMounts = "/proc/self/mountinfo";

class PlacedExecutor implements Executor {
  readonly #inner: Executor;
  readonly #placement: Placement;

  constructor(inner: Executor, placement: Placement) {
    this.#inner = inner;
    this.#placement = placement;
  }

  get host(): string {
    return this.#inner.host;
  }

  async run(argv: Argv, options: RunOptions): Promise<RunResult> {
    return await this.#inner.run(await this.#within(argv), options);
  }

  async sequence([first, ...others]: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    const placed = async ({ argv, ...gate }: SequencedCommand): Promise<SequencedCommand> => ({ argv: await this.#within(argv), ...gate });
    return await this.#inner.sequence([await placed(first), ...(await Promise.all(others.map(placed)))], options);
  }

  async *stream(producer: Argv, consumer: Argv, options: StreamOptions): AsyncGenerator<Uint8Array, void, undefined> {
    yield* this.#inner.stream(await this.#within(producer), await this.#within(consumer), options);
  }

  async pipe(producer: Argv, consumer: Argv, options: PipeOptions): Promise<PipeResult> {
    return await this.#inner.pipe(await this.#within(producer), await this.#within(consumer), options);
  }

  async files(operations: readonly FileOperation[], options: CallOptions): Promise<readonly FileResult[]> {
    const results = await this.#inner.files(operations.map((operation) => this.#placed(operation)), options);
    return results.map((result, index) => this.#asSeenThere(operations[index], result));
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  /** nsenter and chroot would end with 127 and a text of their own, which looks like the program's: it is looked for before. */
  async #within(argv: Argv): Promise<Argv> {
    const [program, ...args] = argv;
    const found = await this.#find(program);
    if (found !== undefined) return [...this.#placement.prefix, found, ...args];
    const hint = missingProgramHint(this.host, argv);
    throw new CommandError("precondition", this.host, argv, "not_started", new Error("no such program on the host"), hint);
  }

  async #find(program: string): Promise<string | undefined> {
    for (const directory of systemPath.split(":")) {
      const path = `${directory}/${program}`;
      const there = await access(`${this.#placement.root}${path}`, constants.X_OK).then(() => true, () => false);
      if (there) return path;
    }
    return undefined;
  }

  #placed(operation: FileOperation): FileOperation {
    const { root, mountinfo } = this.#placement;
    if (operation.path === ownMounts) return { ...operation, path: mountinfo };
    const path = `${root}${operation.path}`;
    // configfs looks the target up at once, from where we stand (fs/configfs/symlink.c).
    if (operation.op === "symlink" && operation.target.startsWith("/")) return { ...operation, path, target: `${root}${operation.target}` };
    return { ...operation, path };
  }

  #asSeenThere(operation: FileOperation | undefined, result: FileResult): FileResult {
    const { root, mountinfo } = this.#placement;
    if (operation?.path === ownMounts && mountinfo === ownMounts) return { ...result, ...(result.text !== undefined && { text: mountsBelow(root, result.text) }) };
    if (result.files === undefined) return result;
    return { ...result, files: result.files.map(([path, content]) => [path.slice(root.length), content] as const) };
  }
}

/** The mounts below `root`, as a process with that root sees them. The mount point is the fifth field (proc(5)). */
export function mountsBelow(root: string, mountinfo: string): string {
  return mountinfo
    .split("\n")
    .flatMap((line) => {
      const fields = line.split(" ");
      const point = fields[4];
      if (point !== root && point?.startsWith(`${root}/`) !== true) return [];
      const inside = point.slice(root.length);
      return [[...fields.slice(0, 4), inside === "" ? "/" : inside, ...fields.slice(5)].join(" ")];
    })
    .map((line) => `${line}\n`)
    .join("");
}
