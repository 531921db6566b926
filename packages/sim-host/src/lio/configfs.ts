import { KernelError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { EntryKind, Tree } from "../files/tree.ts";
import { core } from "./backstore.ts";
import { attributeKey, readOnly, type DirectoryRule, type MadeRule, type Place } from "./directory.ts";
import { iscsi } from "./fabric.ts";

/** /sys/kernel/config. Holds the target tree once target_core_mod is loaded; no other subsystem is modelled. */

const mountPoint = "/sys/kernel/config";

/** mkdir of `iscsi` loads its module by itself (target_core_register_fabric). */
const fabrics: MadeRule = {
  rule: iscsi,
  check: (name) => (name === "iscsi" ? undefined : "EINVAL"),
  list: (place) => (place.machine.model.targets.has(place.machine.name) ? ["iscsi"] : []),
  open: (place, name) => (name === "iscsi" ? place.machine.model.targets.get(place.machine.name) : undefined),
  add(place) {
    place.machine.loadModules("iscsi_target_mod");
    place.machine.model.targets.put(place.machine.name, {});
  },
  remove(place) {
    place.machine.model.targets.delete(place.machine.name);
  },
};

const target: DirectoryRule = {
  attributes: {
    version: readOnly(() => "Target Engine Core ConfigFS Infrastructure v5.0 on Linux/x86_64 on 6.1.0\n"),
    dbroot: { initial: "/var/target", readable: true, writable: true },
  },
  groups: { core },
  made: fabrics,
};

type Found =
  | { readonly kind: "directory"; readonly place: Place }
  | { readonly kind: "file"; readonly place: Place; readonly name: string }
  | { readonly kind: "link"; readonly place: Place; readonly name: string; readonly target: string };

export class Configfs implements Tree {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  kind(path: string): EntryKind | undefined {
    return this.#find(path, false)?.kind;
  }

  list(path: string): readonly string[] {
    const { place } = this.#directory(path, false);
    const { rule } = place;
    return [
      ...Object.keys(rule.attributes ?? {}),
      ...Object.keys(rule.groups ?? {}),
      ...(rule.made?.list(place) ?? []),
      ...(rule.links === undefined ? [] : Object.keys(place.node.links ?? {})),
    ];
  }

  read(path: string): string {
    const found = this.#get(path, false);
    if (found.kind !== "file") throw new KernelError("EISDIR", path);
    const attribute = found.place.rule.attributes?.[found.name];
    if (attribute?.readable !== true) throw new KernelError("EACCES", path);
    const value = found.place.node.attributes?.[attributeKey(found.place, found.name)] ?? attribute.initial ?? "";
    return attribute.read?.(found.place) ?? `${value}\n`;
  }

  write(path: string, content: string, create?: { readonly mode: number }): void {
    const found = this.#find(path, true);
    if (found === undefined) throw new KernelError(create === undefined ? "ENOENT" : "EACCES", path);
    if (found.kind !== "file") throw new KernelError("EISDIR", path);
    const { place, name } = found;
    const attribute = place.rule.attributes?.[name];
    if (attribute?.writable !== true) throw new KernelError("EACCES", path);
    const stored = attribute.write === undefined ? content.replace(/\n$/, "") : attribute.write(place, content);
    if (stored !== undefined) {
      place.node.attributes = { ...place.node.attributes, [attributeKey(place, name)]: stored };
    }
  }

  mkdir(path: string): void {
    const { parent, name } = split(path);
    if (this.#find(path, false) !== undefined) throw new KernelError("EEXIST", path);
    const { place } = this.#directory(parent, true);
    const { made } = place.rule;
    if (made === undefined) throw new KernelError("EPERM", path);
    const refusal = made.check(name);
    if (refusal !== undefined) throw new KernelError(refusal, path);
    made.add(place, name);
  }

  rmdir(path: string): void {
    const { place } = this.#directory(path, true);
    const { parent } = place;
    const { name } = split(path);
    // Automatic directories cannot be removed by hand (CONFIGFS_USET_DEFAULT).
    if (parent?.rule.made === undefined || parent.rule.groups?.[name] !== undefined) throw new KernelError("EPERM", path);
    if (parent.rule.made.isLinked?.(parent, name) === true) throw new KernelError("EBUSY", path);
    if (hasMade(place)) throw new KernelError("ENOTEMPTY", path);
    parent.rule.made.remove(parent, name);
  }

  symlink(path: string, target: string): void {
    const { parent, name } = split(path);
    if (this.#find(path, false) !== undefined) throw new KernelError("EEXIST", path);
    const { place } = this.#directory(parent, true);
    if (place.rule.links === undefined) throw new KernelError("EPERM", path);
    const found = target.startsWith(`${mountPoint}/`) ? this.#find(target, false) : undefined;
    if (found?.kind !== "directory") throw new KernelError(found === undefined ? "ENOENT" : "EPERM", path);
    // One LUN, one backstore: a second link is refused by the target core.
    if (Object.keys(place.node.links ?? {}).length > 0) throw new KernelError("EEXIST", path);
    place.rule.links.link(place, name, found.place);
  }

  unlink(path: string): void {
    const found = this.#get(path, true);
    if (found.kind !== "link") throw new KernelError(found.kind === "directory" ? "EISDIR" : "EPERM", path);
    found.place.rule.links?.unlink(found.place, found.name, found.target);
  }

  /** configfs makes every link relative: up to its root, then down (configfs_get_target_path, fs/configfs/symlink.c). */
  readlink(path: string): string {
    const found = this.#get(path, false);
    if (found.kind !== "link") throw new KernelError("EINVAL", path);
    const depth = found.place.path.slice(mountPoint.length + 1).split("/").length;
    return `${"../".repeat(depth)}${found.target.slice(mountPoint.length + 1)}`;
  }

  #directory(path: string, edit: boolean): { readonly place: Place } {
    const found = this.#get(path, edit);
    if (found.kind !== "directory") throw new KernelError("ENOTDIR", path);
    return found;
  }

  #get(path: string, edit: boolean): Found {
    const found = this.#find(path, edit);
    if (found === undefined) throw new KernelError("ENOENT", path);
    return found;
  }

  #find(path: string, edit: boolean): Found | undefined {
    const groups = this.#machine.hasModule("target_core_mod") ? { target } : {};
    let place: Place = {
      machine: this.#machine,
      path: mountPoint,
      rule: { groups },
      node: {},
      inside: "",
      names: [],
      parent: undefined,
    };
    const parts = path.slice(mountPoint.length).split("/").filter(Boolean);
    for (const [index, part] of parts.entries()) {
      const next = descend(place, part, edit);
      if (next !== undefined) {
        place = next;
        continue;
      }
      if (index !== parts.length - 1) return undefined;
      if (place.rule.attributes !== undefined && Object.hasOwn(place.rule.attributes, part)) {
        return { kind: "file", place, name: part };
      }
      const link = place.rule.links === undefined ? undefined : place.node.links?.[part];
      return link === undefined ? undefined : { kind: "link", place, name: part, target: link };
    }
    return { kind: "directory", place };
  }
}

function descend(place: Place, name: string, edit: boolean): Place | undefined {
  const path = `${place.path}/${name}`;
  const { groups, made } = place.rule;
  const group = groups !== undefined && Object.hasOwn(groups, name) ? groups[name] : undefined;
  if (group !== undefined) {
    return { ...place, path, rule: group, inside: attributeKey(place, name), parent: place };
  }
  const node = made?.open(place, name, edit);
  if (made === undefined || node === undefined) return undefined;
  // `iscsi` is the fabric, not a name that anything below needs; the same holds for the tree above the HBAs.
  const names = made === fabrics ? [] : [...place.names, name];
  return { machine: place.machine, path, rule: made.rule, node, inside: "", names, parent: place };
}

/** Whether anything that was made lies in a directory, be it in one of its automatic ones. */
function hasMade(place: Place): boolean {
  if (Object.keys(place.node.children ?? {}).length > 0 || Object.keys(place.node.links ?? {}).length > 0) return true;
  return (place.rule.made?.list(place).length ?? 0) > 0;
}

function split(path: string): { readonly parent: string; readonly name: string } {
  const cut = path.lastIndexOf("/");
  return { parent: path.slice(0, cut), name: path.slice(cut + 1) };
}
