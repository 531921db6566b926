import type { Executor, FileOperation } from "@zfsilo/command";
import { posix } from "node:path";
import { RefusalError } from "../refusal.ts";

/** As many symbolic links as the kernel follows (MAXSYMLINKS, include/linux/namei.h). */
const maxLinks = 40;

/** Refuses what is not in its one normal form: no `.`, `..`, doubled or trailing slash. */
export function assertNormal(path: string): void {
  if (path.startsWith("/") && posix.normalize(path) === path && (path === "/" || !path.endsWith("/"))) return;
  throw new RefusalError(`${JSON.stringify(path.slice(0, 200))} is not an absolute path in its normal form`);
}

/** Whether `path` lies strictly below `directory`, by components. */
export function isBelow(path: string, directory: string): boolean {
  return path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

/** The directories below which volumes may be mounted, on the machine that `executor` acts on. */
export class AllowedRoots {
  readonly #executor: Executor;
  readonly #roots: readonly string[];

  constructor(executor: Executor, roots: readonly string[]) {
    this.#executor = executor;
    this.#roots = roots;
  }

  /** By the name alone: whether it is worth looking at. */
  covers(path: string): boolean {
    return this.#roots.some((root) => isBelow(path, root));
  }

  /** A root itself, or a directory on the way to one. */
  leadsToRoot(path: string): boolean {
    return this.#roots.some((root) => root === path || isBelow(root, path));
  }

  /**
   * Refuses a path that is not below a root, or that a symbolic link leads out of all of them. Links above a root are the
   * administrator's and are followed. With `leaf`, a link at the path itself is not followed, as for unlink.
   */
  async assertBelow(path: string, signal: AbortSignal, leaf?: "unfollowed"): Promise<void> {
    assertNormal(path);
    if (!this.covers(path)) throw new RefusalError(`${path} is not below an allowed root (${this.#roots.join(", ")})`);
    const parent = posix.dirname(path);
    const real = leaf === undefined ? await this.#realPath(path, signal) : posix.join(await this.#realPath(parent, signal), posix.basename(path));
    if (real === path) return;
    for (const root of this.#roots) if (isBelow(real, root) || isBelow(real, await this.#realPath(root, signal))) return;
    throw new RefusalError(`${path} leads to ${real}, outside of the allowed roots`);
  }

  /** Parts that are not there are taken as they are written. */
  async #realPath(path: string, signal: AbortSignal): Promise<string> {
    let real = path;
    for (let hop = 0; hop <= maxLinks; hop += 1) {
      const prefixes = ancestorsAndSelf(real);
      const links = await this.#executor.files(prefixes.map(readlink), { signal });
      const index = links.findIndex(({ text }) => text !== undefined);
      const link = prefixes[index];
      const to = links[index]?.text;
      if (link === undefined || to === undefined) return real;
      real = posix.join(posix.resolve(posix.dirname(link), to), real.slice(link.length));
    }
    throw new RefusalError(`${path} leads through too many symbolic links`);
  }
}

function readlink(path: string): FileOperation {
  return { op: "readlink", path, tolerate: ["EINVAL", "ENOENT", "ENOTDIR"] };
}

function ancestorsAndSelf(path: string): string[] {
  let prefix = "";
  return path.split("/").slice(1).map((component) => (prefix += `/${component}`));
}
