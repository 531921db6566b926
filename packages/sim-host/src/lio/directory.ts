import type { Errno } from "@zfsilo/command";
import { KernelError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { ConfigNode } from "../model.ts";

/**
 * The shape of a configfs tree (fs/configfs, kernel 6.1): directories that a caller makes, each with attribute files and
 * automatic directories that come and go with it. A `Place` is one directory as found by walking down from the root.
 */
export interface Place {
  readonly machine: Machine;
  readonly path: string;
  readonly rule: DirectoryRule;
  /** The made directory this one is, or lies in. */
  readonly node: ConfigNode;
  /** Path of automatic directories below that, "" or `attrib`. */
  readonly inside: string;
  /** Names of the made directories from the root down to `node`. */
  readonly names: readonly string[];
  readonly parent: Place | undefined;
}

export interface Attribute {
  readonly initial?: string;
  readonly writable: boolean;
  readonly readable: boolean;
  /** Content of the file; default the stored or initial value and a newline. */
  readonly read?: (place: Place) => string;
  /** Refuses by throwing, or acts; gives what to store, undefined to store nothing. Default: the value without newline. */
  readonly write?: (place: Place, value: string) => string | undefined;
}

export interface DirectoryRule {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly groups?: Readonly<Record<string, DirectoryRule>>;
  readonly made?: MadeRule;
  readonly links?: LinkRule;
}

/** What `mkdir` can make here. */
export interface MadeRule {
  readonly rule: DirectoryRule;
  /** Why a name is refused. */
  check(name: string): Errno | undefined;
  list(place: Place): readonly string[];
  open(place: Place, name: string, edit: boolean): ConfigNode | undefined;
  add(place: Place, name: string): void;
  remove(place: Place, name: string): void;
  /** Whether links lead to it: EBUSY, which the kernel looks at before it looks inside (configfs_detach_prep). */
  isLinked?(place: Place, name: string): boolean;
}

/** What `symlink` does here: a directory takes one link. */
export interface LinkRule {
  link(place: Place, name: string, target: Place): void;
  unlink(place: Place, name: string, target: string): void;
}

export interface NestedHooks {
  readonly isLinked?: (place: Place, name: string) => boolean;
  readonly added?: (place: Place, name: string) => void;
  /** Runs before the directory goes; may refuse. */
  readonly removing?: (place: Place, name: string, node: ConfigNode) => void;
}

/** Directories kept inside the document of the made directory above them. */
export function nested(rule: DirectoryRule, check: (name: string) => Errno | undefined, hooks: NestedHooks = {}): MadeRule {
  const keyOf = (place: Place, name: string): string => (place.inside === "" ? name : `${place.inside}/${name}`);
  return {
    rule,
    check,
    list: (place) =>
      Object.keys(place.node.children ?? {})
        .filter((key) => key.slice(0, Math.max(key.lastIndexOf("/"), 0)) === place.inside)
        .map((key) => key.slice(key.lastIndexOf("/") + 1)),
    open: (place, name) => place.node.children?.[keyOf(place, name)],
    isLinked: (place, name) => hooks.isLinked?.(place, name) ?? false,
    add(place, name) {
      hooks.added?.(place, name);
      place.node.children = { ...place.node.children, [keyOf(place, name)]: {} };
    },
    remove(place, name) {
      const { [keyOf(place, name)]: removed, ...others } = place.node.children ?? {};
      if (removed !== undefined) hooks.removing?.(place, name, removed);
      place.node.children = others;
    },
  };
}

/** Attribute files that keep what is written, with these initial values; `null` starts empty. */
export function stored(initial: Readonly<Record<string, string>>): Readonly<Record<string, Attribute>> {
  return Object.fromEntries(
    Object.entries(initial).map(([name, value]) => [name, { initial: value, readable: true, writable: true }]),
  );
}

/** Attribute files that take a 0 or a 1. */
export function switches(initial: Readonly<Record<string, "0" | "1">>): Readonly<Record<string, Attribute>> {
  const write = (place: Place, value: string): string => parseSwitch(place, value);
  return Object.fromEntries(
    Object.entries(initial).map(([name, value]) => [name, { initial: value, readable: true, writable: true, write }]),
  );
}

export function parseSwitch(place: Place, value: string): "0" | "1" {
  const text = value.trim();
  if (text !== "0" && text !== "1") throw new KernelError("EINVAL", place.path);
  return text;
}

export function readOnly(read: (place: Place) => string): Attribute {
  return { readable: true, writable: false, read };
}

export function attributeKey(place: Place, name: string): string {
  return place.inside === "" ? name : `${place.inside}/${name}`;
}
