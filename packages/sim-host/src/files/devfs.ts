import { findDevice, openDevice, readDevice, writeDevice, zvolLink } from "../device.ts";
import { KernelError } from "../failure.ts";
import { portalText } from "../lio/view.ts";
import type { Machine } from "../machine.ts";
import { findDataset } from "../zfs/datasets.ts";
import type { EntryKind, Tree } from "./tree.ts";

/** /dev: block device nodes, /dev/zvol and /dev/disk/by-path links, and the few plain nodes that tools name. */
export class Devfs implements Tree {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  kind(path: string): EntryKind | undefined {
    const name = path.slice("/dev/".length);
    if (["/dev", "/dev/zvol", "/dev/disk", "/dev/disk/by-path"].includes(path)) return "directory";
    if (path === "/dev/zero" || path === "/dev/null") return "file";
    if (name.startsWith("zvol/")) return this.#zvolKind(name.slice("zvol/".length));
    if (name.startsWith("disk/by-path/")) return this.#byPath().has(name.slice("disk/by-path/".length)) ? "link" : undefined;
    return findDevice(this.#machine, name) === undefined ? undefined : "file";
  }

  #zvolKind(dataset: string): EntryKind | undefined {
    const found = findDataset(this.#machine, dataset);
    if (found?.type === "filesystem") return "directory";
    return zvolLink(this.#machine, dataset) === undefined ? undefined : "link";
  }

  list(path: string): readonly string[] {
    const { model } = this.#machine;
    if (path === "/dev") return ["disk", "null", "zero", "zvol", ...model.devices.children(this.#machine.name)];
    if (path === "/dev/disk") return ["by-path"];
    if (path === "/dev/disk/by-path") return [...this.#byPath().keys()];
    if (path === "/dev/zvol") return model.pools.children(this.#machine.name);
    if (this.kind(path) !== "directory") throw new KernelError("ENOTDIR", path);
    const dataset = path.slice("/dev/zvol/".length);
    return model.datasets
      .children(this.#machine.at(dataset))
      .filter((child) => this.#zvolKind(`${dataset}/${child}`) !== undefined);
  }

  read(path: string, maxBytes: number): string {
    if (path === "/dev/null") return "";
    if (path === "/dev/zero") return "\0".repeat(maxBytes);
    if (this.kind(path) === "directory") throw new KernelError("EISDIR", path);
    return readDevice(openDevice(this.#machine, path.slice("/dev/".length)), maxBytes).toString("utf8");
  }

  write(path: string, content: string): void {
    if (path === "/dev/null" || path === "/dev/zero") return;
    const kind = this.kind(path);
    if (kind !== "file") throw new KernelError(kind === undefined ? "EACCES" : "EISDIR", path);
    writeDevice(openDevice(this.#machine, path.slice("/dev/".length)), Buffer.from(content, "utf8"));
  }

  readlink(path: string): string {
    const name = path.slice("/dev/".length);
    if (this.kind(path) !== "link") throw new KernelError(this.kind(path) === undefined ? "ENOENT" : "EINVAL", path);
    const device = name.startsWith("zvol/")
      ? zvolLink(this.#machine, name.slice("zvol/".length))
      : this.#byPath().get(name.slice("disk/by-path/".length));
    return `${"../".repeat(name.split("/").length - 1)}${device ?? ""}`;
  }

  mkdir(path: string): void {
    throw new KernelError(this.kind(path) === undefined ? "EACCES" : "EEXIST", path);
  }

  rmdir(path: string): void {
    throw new KernelError(this.kind(path) === undefined ? "ENOENT" : "EPERM", path);
  }

  symlink(path: string): void {
    this.mkdir(path);
  }

  unlink(path: string): void {
    throw new KernelError(this.kind(path) === undefined ? "ENOENT" : "EPERM", path);
  }

  #byPath(): ReadonlyMap<string, string> {
    const { sessions } = this.#machine.model;
    const links = new Map<string, string>();
    for (const sid of sessions.children(this.#machine.name)) {
      const session = sessions.get(this.#machine.at(sid));
      for (const [lun, disk] of Object.entries(session?.disks ?? {})) {
        if (session === undefined) continue;
        links.set(`ip-${portalText(session.address, session.port)}-iscsi-${session.target}-lun-${lun}`, disk);
      }
    }
    return links;
  }
}
