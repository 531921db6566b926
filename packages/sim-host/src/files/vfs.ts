import type { FileOperation, FileResult } from "@zfsilo/command";
import { assertNever } from "@zfsilo/lib";
import { awaitLink } from "../device.ts";
import { KernelError, UnmodelledError } from "../failure.ts";
import { Configfs } from "../lio/configfs.ts";
import type { Machine } from "../machine.ts";
import { sortByBytes } from "../store.ts";
import { Devfs } from "./devfs.ts";
import { FileTree } from "./file-tree.ts";
import { mountAt, mountOf, viewOf } from "./mounts.ts";
import { procfs } from "./procfs.ts";
import { sysfs } from "./sysfs.ts";
import type { EntryKind, Tree } from "./tree.ts";
import { udevData } from "./udev-data.ts";
import { VirtualTree } from "./virtual-tree.ts";

const defaultReadBytes = 1024 * 1024;
const mostLinks = 40;
const zvolLinks = "/dev/zvol/";

/** What lies elsewhere on a real disk is nothing a storage host is asked about. */
const plainRoots = ["/mnt", "/srv", "/media", "/var", "/tmp", "/etc", "/run", "/root", "/home", "/usr", "/sbin"];

/** The file side of a machine: finds the tree a path lies in, follows links, performs one operation. */
export class Vfs {
  readonly #machine: Machine;
  readonly #trees: readonly (readonly [prefix: string, tree: Tree])[];

  constructor(machine: Machine) {
    this.#machine = machine;
    // The longest prefix first.
    this.#trees = [
      ["/sys/kernel/config", new Configfs(machine)],
      ["/run/udev/data", new VirtualTree("/run/udev/data", udevData(machine))],
      ["/sys", new VirtualTree("/sys", sysfs(machine))],
      ["/proc", new VirtualTree("/proc", procfs(machine))],
      ["/dev", new Devfs(machine)],
    ];
  }

  perform(operation: FileOperation): FileResult {
    try {
      return this.#perform(operation);
    } finally {
      if (operation.path.startsWith(zvolLinks)) awaitLink(this.#machine, operation.path.slice(zvolLinks.length));
    }
  }

  #perform(operation: FileOperation): FileResult {
    const { op, path } = operation;
    if (!path.startsWith("/")) throw new UnmodelledError(`the relative path ${path}`);
    switch (op) {
      case "mkdir":
        this.#at(path, false, (tree, real) => {
          tree.mkdir(real, operation.mode ?? 0o755);
        });
        return {};
      case "rmdir":
      case "unlink":
        this.#at(path, false, (tree, real) => {
          if (mountAt(this.#machine, real) !== undefined) throw new KernelError("EBUSY", real);
          if (op === "rmdir") tree.rmdir(real);
          else tree.unlink(real);
        });
        return {};
      case "symlink":
        this.#at(path, false, (tree, real) => {
          tree.symlink(real, operation.target);
        });
        return {};
      case "readlink":
        return { text: this.#at(path, false, (tree, real) => tree.readlink(real)) };
      case "read":
        return { text: this.read(path, operation.maxBytes ?? defaultReadBytes) };
      case "list":
        return { entries: sortByBytes([...this.list(path)], (name) => name) };
      case "read-glob":
        return { files: this.#glob(path) };
      case "write":
        this.#at(path, true, (tree, real) => {
          tree.write(real, operation.content, operation.create);
        });
        return {};
      default:
        return assertNever(op);
    }
  }

  read(path: string, maxBytes = defaultReadBytes): string {
    const text = this.#at(path, true, (tree, real) => tree.read(real, maxBytes));
    const bytes = Buffer.from(text, "utf8");
    return bytes.length > maxBytes ? bytes.subarray(0, maxBytes).toString("utf8") : text;
  }

  list(path: string): readonly string[] {
    return this.#at(path, true, (tree, real) => tree.list(real));
  }

  /** What a path is, links followed; undefined when there is nothing. */
  kind(path: string): EntryKind | undefined {
    try {
      return this.#at(path, true, (tree, real) => tree.kind(real));
    } catch (error) {
      if (error instanceof KernelError && ["ENOENT", "ENOTDIR"].includes(error.errno)) return undefined;
      throw error;
    }
  }

  /** The path without links, as realpath(3). */
  resolve(path: string): string {
    return this.#resolve(path, true);
  }

  #at<T>(path: string, follow: boolean, act: (tree: Tree, real: string) => T): T {
    const real = this.#resolve(path, follow);
    return act(this.#tree(real), real);
  }

  #resolve(path: string, follow: boolean): string {
    // What is there under its plain name has no link on the way; this is nearly every path.
    if (!/\/\/|\/\.{1,2}(?:\/|$)|.\/$/.test(path)) {
      const kind = this.#tree(path).kind(path);
      if (kind !== undefined && (kind !== "link" || !follow)) return path;
    }
    let real = "";
    let links = 0;
    const rest = path.split("/").filter((part) => part !== "" && part !== ".");
    for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
      if (part === "..") {
        real = real.slice(0, Math.max(real.lastIndexOf("/"), 0));
        continue;
      }
      const next = `${real}/${part}`;
      const kind = this.#tree(next).kind(next);
      if (kind === "link" && (rest.length > 0 || follow)) {
        links += 1;
        if (links > mostLinks) throw new KernelError("ELOOP", path);
        const target = this.#tree(next).readlink(next);
        rest.unshift(...target.split("/").filter((word) => word !== "" && word !== "."));
        if (target.startsWith("/")) real = "";
        continue;
      }
      if (rest.length > 0 && kind !== "directory") throw new KernelError(kind === undefined ? "ENOENT" : "ENOTDIR", path);
      real = next;
    }
    return real === "" ? "/" : real;
  }

  #tree(path: string): Tree {
    // Nothing can be mounted in these.
    const virtual = this.#trees.find(([prefix]) => path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === "/"));
    if (virtual !== undefined) return virtual[1];
    const mount = mountOf(this.#machine, path);
    if (mount.at === "/" && path !== "/" && !plainRoots.some((root) => path === root || path.startsWith(`${root}/`))) {
      throw new UnmodelledError(`the path ${path}`);
    }
    if (mount.content !== undefined) {
      return new FileTree(this.#machine.model, viewOf(this.#machine, mount, mount.content));
    }
    return new BoundDevice(this.#machine, `/dev/${mount.device ?? ""}`);
  }

  #glob(pattern: string): readonly (readonly [string, string])[] {
    const found: (readonly [string, string])[] = [];
    for (const path of this.#expand("", pattern.split("/").slice(1))) {
      const content = quietly(() => this.read(path));
      if (content !== undefined) found.push([path, content]);
    }
    return sortByBytes(found, ([path]) => path);
  }

  #expand(prefix: string, parts: readonly string[]): readonly string[] {
    const [part, ...rest] = parts;
    if (part === undefined) return [prefix];
    if (!part.includes("*")) return this.#expand(`${prefix}/${part}`, rest);
    const escaped = part.split("*").map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const matches = new RegExp(`^${escaped.join("[^/]*")}$`, "s");
    const names = quietly(() => this.list(prefix === "" ? "/" : prefix)) ?? [];
    return names
      .filter((name) => matches.test(name) && (!name.startsWith(".") || part.startsWith(".")))
      .filter((name) => rest.length === 0 || this.#tree(`${prefix}/${name}`).kind(`${prefix}/${name}`) !== "file")
      .flatMap((name) => this.#expand(`${prefix}/${name}`, rest));
  }
}

/** What a kernel refuses is left out of a glob; what is not modelled still shows. */
function quietly<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  }
}

/** A device node bind-mounted on a file: every access is the device's. */
class BoundDevice implements Tree {
  readonly #devfs: Devfs;
  readonly #node: string;

  constructor(machine: Machine, node: string) {
    this.#devfs = new Devfs(machine);
    this.#node = node;
  }

  kind(): EntryKind {
    return "file";
  }

  list(path: string): readonly string[] {
    throw new KernelError("ENOTDIR", path);
  }

  read(path: string, maxBytes: number): string {
    this.#present(path);
    return this.#devfs.read(this.#node, maxBytes);
  }

  write(path: string, content: string): void {
    this.#present(path);
    this.#devfs.write(this.#node, content);
  }

  /** The node is held by the mount, the device behind it may be gone. */
  #present(path: string): void {
    if (this.#devfs.kind(this.#node) === undefined) throw new KernelError("ENXIO", path);
  }

  mkdir(path: string): void {
    throw new KernelError("EEXIST", path);
  }

  rmdir(path: string): void {
    throw new KernelError("EBUSY", path);
  }

  symlink(path: string): void {
    throw new KernelError("EEXIST", path);
  }

  unlink(path: string): void {
    throw new KernelError("EBUSY", path);
  }

  readlink(path: string): string {
    throw new KernelError("EINVAL", path);
  }
}
