import { KernelError } from "../failure.ts";
import type { EntryKind, Tree } from "./tree.ts";

export type VirtualNode =
  | {
      readonly kind: "directory";
      list(): readonly string[];
      /** Undefined: there is no such entry. */
      child(name: string): VirtualNode | undefined;
    }
  | { readonly kind: "file"; read(): string; readonly write?: (content: string) => void };

/** A directory with fixed entries; those that are undefined are not there. */
export function directory(entries: Readonly<Record<string, VirtualNode | undefined>>): VirtualNode {
  return {
    kind: "directory",
    list: () => Object.keys(entries).filter((name) => entries[name] !== undefined),
    child: (name) => (Object.hasOwn(entries, name) ? entries[name] : undefined),
  };
}

export function listing(list: () => readonly string[], child: (name: string) => VirtualNode | undefined): VirtualNode {
  return { kind: "directory", list, child };
}

export function file(text: string | (() => string), write?: (content: string) => void): VirtualNode {
  const read = typeof text === "string" ? (): string => text : text;
  return write === undefined ? { kind: "file", read } : { kind: "file", read, write };
}

/** proc, sysfs and their like: made up on every look, with nothing to create or remove. */
export class VirtualTree implements Tree {
  readonly #at: string;
  readonly #root: VirtualNode;

  constructor(at: string, root: VirtualNode) {
    this.#at = at;
    this.#root = root;
  }

  kind(path: string): EntryKind | undefined {
    return this.#find(path)?.kind;
  }

  list(path: string): readonly string[] {
    const node = this.#get(path);
    if (node.kind !== "directory") throw new KernelError("ENOTDIR", path);
    return node.list();
  }

  read(path: string): string {
    const node = this.#get(path);
    if (node.kind === "directory") throw new KernelError("EISDIR", path);
    return node.read();
  }

  write(path: string, content: string): void {
    const node = this.#find(path);
    if (node === undefined) throw new KernelError("ENOENT", path);
    if (node.kind === "directory") throw new KernelError("EISDIR", path);
    if (node.write === undefined) throw new KernelError("EACCES", path);
    node.write(content);
  }

  mkdir(path: string): void {
    throw new KernelError(this.#find(path) === undefined ? "EPERM" : "EEXIST", path);
  }

  symlink(path: string): void {
    this.mkdir(path);
  }

  rmdir(path: string): void {
    this.#get(path);
    throw new KernelError("EPERM", path);
  }

  unlink(path: string): void {
    this.rmdir(path);
  }

  readlink(path: string): string {
    this.#get(path);
    throw new KernelError("EINVAL", path);
  }

  #get(path: string): VirtualNode {
    const node = this.#find(path);
    if (node === undefined) throw new KernelError("ENOENT", path);
    return node;
  }

  #find(path: string): VirtualNode | undefined {
    let node: VirtualNode | undefined = this.#root;
    for (const part of path.slice(this.#at.length).split("/")) {
      if (part === "") continue;
      node = node?.kind === "directory" ? node.child(part) : undefined;
    }
    return node;
  }
}
