import { invalidField, StorageError } from "@zfsilo/lib";
import { hasControlCharacter } from "../control-characters.ts";

declare const pathBrand: unique symbol;

/** An absolute path on a host in its one normal form: no `.`, `..`, doubled or trailing slash, no control character. */
export type HostPath = string & { readonly [pathBrand]: "host-path" };

/** PATH_MAX is 4096 with the terminating NUL; NAME_MAX is 255 (linux/limits.h). */
const maxPath = 4095;
const maxName = 255;

/** Refuses what is not normal instead of normalising it: a caller who writes `..` means something we should not guess. */
export function parseHostPath(text: string, field = "path"): HostPath {
  if (hasControlCharacter(text)) throw invalidField(field, "has a control character");
  if (!text.startsWith("/")) throw invalidField(field, "is not an absolute path");
  if (Buffer.byteLength(text) > maxPath) throw invalidField(field, `is longer than ${maxPath} bytes`);
  if (text === "/") return text as HostPath;
  for (const component of componentsOf(text)) {
    if (component === "") throw invalidField(field, "has an empty component (a doubled or trailing '/')");
    if (component === "." || component === "..") throw invalidField(field, `has the component "${component}"`);
    if (Buffer.byteLength(component) > maxName) throw invalidField(field, `has a component longer than ${maxName} bytes`);
  }
  return text as HostPath;
}

/** The path of each component, outermost first: `/a`, `/a/b`. */
export function ancestorsAndSelf(path: string): string[] {
  let prefix = "";
  return componentsOf(path).map((component) => (prefix += `/${component}`));
}

/** Whether `path` is `root` or below it, by components and not by characters. */
export function isUnder(path: string, root: string): boolean {
  return root === "/" || path === root || path.startsWith(`${root}/`);
}

/** Throws `invalid_argument` unless the path lies strictly below one of the roots. */
export function assertUnderRoots(path: HostPath, roots: readonly HostPath[], field = "path"): void {
  if (roots.some((root) => path !== root && isUnder(path, root))) return;
  throw new StorageError("invalid_argument", `${field}: ${path} lies outside the directories this host allows`, {
    details: { field },
    hint: `Use a path below ${roots.join(", ")}, or allow another root for the host.`,
  });
}

function componentsOf(path: string): string[] {
  return path.split("/").slice(1);
}
