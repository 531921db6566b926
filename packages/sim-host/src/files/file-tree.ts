import { chargeWrite, contentOf, occupied } from "../content.ts";
import { KernelError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { FileDoc, Model } from "../model.ts";
import type { EntryKind, Tree } from "./tree.ts";

/** What a mount adds to a filesystem: where its root lies, and what it refuses. */
export interface MountView {
  readonly content: string;
  /** The mount's place, and the directory inside the content that shows there. */
  readonly at: string;
  readonly root: string;
  /** Throws what an access meets (EIO on a dead disk, EROFS), else does nothing. */
  check(writing: boolean): void;
  /** Gives the error an access to the device ends with in place of the one that happened. */
  fault(error: unknown): unknown;
}

/** Plain directories, files and links, kept in a content: the disk a machine boots from, or a mounted device. */
export class FileTree implements Tree {
  readonly #model: Model;
  readonly #mount: MountView;

  constructor(model: Model, mount: MountView) {
    this.#model = model;
    this.#mount = mount;
  }

  kind(path: string): EntryKind | undefined {
    this.#look(path);
    return this.#file(path)?.kind;
  }

  list(path: string): readonly string[] {
    this.#mount.check(false);
    if (this.#get(path).kind !== "directory") throw new KernelError("ENOTDIR", path);
    return this.#model.files.children(this.#key(path));
  }

  read(path: string): string {
    this.#mount.check(false);
    const file = this.#get(path);
    if (file.kind === "directory") throw new KernelError("EISDIR", path);
    return file.text;
  }

  write(path: string, content: string, create?: { readonly mode: number }): void {
    this.#mount.check(true);
    checkName(path);
    const before = this.#file(path);
    if (before === undefined && create === undefined) throw new KernelError("ENOENT", path);
    if (before?.kind === "directory") throw new KernelError("EISDIR", path);
    if (before === undefined) this.#parent(path);
    // Without O_TRUNC a shorter text leaves the end of the longer one in place.
    const old = Buffer.from(before?.text ?? "", "utf8");
    const data = Buffer.from(content, "utf8");
    const text = create === undefined && old.length > data.length ? Buffer.concat([data, old.subarray(data.length)]) : data;
    this.#replace(path, before, { kind: "file", mode: before?.mode ?? create?.mode ?? 0o644, text: text.toString("utf8") });
  }

  mkdir(path: string, mode: number): void {
    this.#make(path, { kind: "directory", mode, text: "" });
  }

  symlink(path: string, target: string): void {
    this.#make(path, { kind: "link", mode: 0o777, text: target });
  }

  rmdir(path: string): void {
    this.#mount.check(true);
    if (this.#get(path).kind !== "directory") throw new KernelError("ENOTDIR", path);
    if (this.#key(path) === this.#key(this.#mount.at)) throw new KernelError("EBUSY", path);
    if (this.#model.files.hasChildren(this.#key(path))) throw new KernelError("ENOTEMPTY", path);
    this.#model.files.delete(this.#key(path));
  }

  unlink(path: string): void {
    this.#mount.check(true);
    const file = this.#get(path);
    if (file.kind === "directory") throw new KernelError("EISDIR", path);
    this.#charge(file, 0);
    this.#model.files.delete(this.#key(path));
  }

  readlink(path: string): string {
    this.#look(path);
    const file = this.#get(path);
    if (file.kind !== "link") throw new KernelError("EINVAL", path);
    return file.text;
  }

  /** The root of a mount is held in memory, whatever has become of its disk; all else is read. */
  #look(path: string): void {
    if (path !== this.#mount.at) this.#mount.check(false);
  }

  #make(path: string, file: Omit<FileDoc, "generation">): void {
    this.#mount.check(true);
    checkName(path);
    if (this.#file(path) !== undefined) throw new KernelError("EEXIST", path);
    this.#parent(path);
    this.#replace(path, undefined, file);
  }

  #replace(path: string, before: FileDoc | undefined, file: Omit<FileDoc, "generation">): void {
    this.#charge(before, occupied(file.text));
    const { generation } = contentOf(this.#model, this.#mount.content);
    this.#model.files.put(this.#key(path), { ...file, generation });
  }

  /** Counts `bytes` in place of a file's, in the filesystem and in the volume below it. */
  #charge(before: FileDoc | undefined, bytes: number): void {
    const old = before === undefined ? 0 : occupied(before.text);
    if (old === 0 && bytes === 0) return;
    const content = contentOf(this.#model, this.#mount.content);
    const used = BigInt(content.fs?.used ?? "0") + BigInt(bytes - old);
    if (content.fs !== undefined && bytes > old && used > BigInt(content.fs.size)) {
      throw new KernelError("ENOSPC", this.#mount.at);
    }
    try {
      chargeWrite(this.#model, content, { bytes: old, generation: before?.generation ?? content.generation }, bytes);
    } catch (error) {
      throw this.#mount.fault(error);
    }
    const edited = this.#model.contents.edit(this.#mount.content);
    if (edited?.fs !== undefined) edited.fs.used = used.toString();
  }

  #parent(path: string): void {
    const parent = this.#file(path.slice(0, path.lastIndexOf("/")));
    if (parent?.kind !== "directory") throw new KernelError(parent === undefined ? "ENOENT" : "ENOTDIR", path);
  }

  #get(path: string): FileDoc {
    const file = this.#file(path);
    if (file === undefined) throw new KernelError("ENOENT", path);
    return file;
  }

  #file(path: string): FileDoc | undefined {
    return this.#model.files.get(this.#key(path));
  }

  #key(path: string): string {
    const inside = this.#mount.at === "/" ? path : path.slice(this.#mount.at.length);
    const whole = `${this.#mount.root}${inside}`;
    return whole === "/" ? this.#mount.content : `${this.#mount.content}${whole}`;
  }
}

/** NAME_MAX of every filesystem there is. */
function checkName(path: string): void {
  if (Buffer.byteLength(path.slice(path.lastIndexOf("/") + 1)) > 255) throw new KernelError("ENAMETOOLONG", path);
}

export function newFile(kind: FileDoc["kind"], mode: number, text = ""): FileDoc {
  return { kind, mode, text, generation: 1 };
}

/** Puts a file on the machine's own disk, making its directories: for what the system has from the start, and its daemons. */
export function putFile(machine: Machine, path: string, text: string, mode: number): void {
  putDirectory(machine, path.slice(0, path.lastIndexOf("/")));
  machine.model.files.put(`${machine.rootContent}${path}`, newFile("file", mode, text));
}

export function putDirectory(machine: Machine, path: string): void {
  const { files } = machine.model;
  if (files.has(`${machine.rootContent}${path}`)) return;
  if (path !== "") putDirectory(machine, path.slice(0, path.lastIndexOf("/")));
  files.put(`${machine.rootContent}${path}`, newFile("directory", path.startsWith("/etc/iscsi/") ? 0o700 : 0o755));
}
