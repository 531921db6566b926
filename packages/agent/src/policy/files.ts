import type { Executor, FileOperation } from "@zfsilo/command";
import { RefusalError } from "../refusal.ts";
import { assertNormal, isBelow, type AllowedRoots } from "./paths.ts";

type Op = FileOperation["op"];

const targets = "/sys/kernel/config/target";
const iscsiRecords = ["/etc/iscsi/nodes", "/etc/iscsi/ifaces"] as const;
const reading: ReadonlySet<Op> = new Set(["read", "read-glob", "list"]);

/** What may be read besides, of the kernel and of udev. Never a secret: those of sessions stand beside their other attributes. */
const readable: readonly RegExp[] = [
  /^\/sys\/module$/,
  /^\/sys\/kernel\/config$/,
  /^\/sys\/(?:block|class\/block)(?:\/[^/]+)+$/,
  /^\/sys\/class\/iscsi_(?:session|connection|host)\/[^/]+(?:\/[^/]+)*\/(?!.*(?:password|username)(?:_in)?$)[^/]+$/,
  /^\/sys\/class\/iscsi_(?:session|connection)$/,
  /^\/proc\/self\/mountinfo$/,
  /^\/proc\/(?:modules|swaps)$/,
  /^\/proc\/net\/(?:fib_trie|if_inet6|tcp6?)$/,
  /^\/proc\/\*\/comm$/,
  /^\/run\/udev\/data\/b[0-9:*]+$/,
  /^\/etc\/iscsi\/initiatorname\.iscsi$/,
  /^\/proc\/sys\/kernel\/osrelease$/,
  /^\/etc\/(?:machine-id|hostname)$/,
  // Of programs that reach for the same devices and targets. What targetcli saved holds what its part of configfs holds.
  /^\/etc\/lvm\/(?:lvm\.conf|lvmlocal\.conf|devices\/system\.devices)$/,
  /^\/etc\/multipath(?:\.conf|\/conf\.d\/\*\.conf)$/,
  /^\/etc\/udev\/rules\.d\/\*\.rules$/,
  /^\/etc\/(?:rtslib-fb-target|target)\/saveconfig\.json$/,
];

/** Asks the kernel to look at a grown disk again. */
const rescan = /^\/sys\/class\/block\/[^/*]+\/device\/rescan$/;

/** Which file operations are allowed (packages/host/COMMANDS.md). */
export class FilePolicy {
  readonly #executor: Executor;
  readonly #roots: AllowedRoots;

  constructor(executor: Executor, roots: AllowedRoots) {
    this.#executor = executor;
    this.#roots = roots;
  }

  /** Throws RefusalError. */
  async check(operation: FileOperation, signal: AbortSignal): Promise<void> {
    const { op, path } = operation;
    assertNormal(path);
    if (path.includes("*") && op !== "read-glob") throw refusal(operation);
    if (path === targets || isBelow(path, targets)) {
      checkTarget(operation);
    } else if (iscsiRecords.some((directory) => path === directory || isBelow(path, directory))) {
      if (op === "symlink") throw refusal(operation);
    } else if (op === "readlink") {
      // Tells where a link leads, nothing else; those of /proc tell what processes have open.
      if (isBelow(path, "/proc")) throw refusal(operation);
    } else if (reading.has(op) && readable.some((pattern) => pattern.test(path))) {
      return;
    } else if (operation.op === "write" && rescan.test(path) && operation.content === "1" && operation.create === undefined) {
      return;
    } else {
      await this.#checkMountPoint(operation, signal);
    }
  }

  /** Mount points are made and removed, and nothing of what lies in them is read, changed or lost. */
  async #checkMountPoint(operation: FileOperation, signal: AbortSignal): Promise<void> {
    const { op, path } = operation;
    if (op === "mkdir" && this.#roots.leadsToRoot(path)) return;
    if (!this.#roots.covers(path)) throw refusal(operation);
    switch (op) {
      case "mkdir":
      case "rmdir":
        await this.#roots.assertBelow(path, signal, "unfollowed");
        return;
      case "read":
        if ((operation.maxBytes ?? 2) > 1) throw refusal(operation, "only whether a file is empty may be read there");
        await this.#roots.assertBelow(path, signal);
        return;
      case "write":
        if (operation.content !== "" || operation.create === undefined) throw refusal(operation, "only empty files may be made there");
        await this.#roots.assertBelow(path, signal);
        await this.#assertEmpty(operation, signal);
        return;
      case "unlink":
        await this.#roots.assertBelow(path, signal, "unfollowed");
        await this.#assertEmpty(operation, signal);
        return;
      case "list":
      case "read-glob":
      case "readlink":
      case "symlink":
        throw refusal(operation);
    }
  }

  /** Writing truncates, and unlinking loses: neither may meet content. */
  async #assertEmpty(operation: FileOperation, signal: AbortSignal): Promise<void> {
    const read: FileOperation = { op: "read", path: operation.path, maxBytes: 1, tolerate: ["ENOENT", "ENOTDIR"] };
    const [found] = await this.#executor.files([read], { signal });
    if ((found?.text ?? "") !== "") throw refusal(operation, "the file is not empty");
  }
}

function checkTarget(operation: FileOperation): void {
  if (operation.op !== "symlink") return;
  assertNormal(operation.target);
  if (!isBelow(operation.target, targets)) throw refusal(operation, `${operation.target} is no object of the target`);
}

function refusal({ op, path }: FileOperation, why?: string): RefusalError {
  return new RefusalError(`${op} ${path}${why === undefined ? "" : `: ${why}`}`);
}
