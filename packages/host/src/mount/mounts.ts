import { CommandError, type Argv, type CallOptions, type Executor, type FileOperation, type FileResult } from "@zfsilo/command";
import { BugError, StorageError, wrapError } from "@zfsilo/lib";
import { posix } from "node:path";
import { textOf } from "../file-results.ts";
import type { FsType } from "../filesystem/types.ts";
import { nameHolders } from "../holders/holders.ts";
import type { Holder } from "../holders/stacked.ts";
import { Tool, withTimeout } from "../tool.ts";
import { mountFailures } from "./errors.ts";
import { ancestorsAndSelf, assertUnderRoots, isUnder, parseHostPath, type HostPath } from "./host-path.ts";
import { mountinfoRead, mountOf, mountsAt, parseMountinfo, type Mount } from "./mountinfo.ts";

export interface DeviceMount {
  /** The device node itself, /dev/sda. */
  readonly device: string;
  readonly target: HostPath;
  readonly type: FsType;
  /** From parseMountOptions. */
  readonly options: readonly string[];
  readonly readOnly: boolean;
}

export interface BindMount {
  /** A directory, or a device node for a raw block volume. */
  readonly source: HostPath;
  readonly target: HostPath;
  readonly readOnly: boolean;
}

export interface MountsOptions {
  /** When given, no target outside them is touched, also not through a symbolic link. */
  readonly roots?: readonly HostPath[];
}

const mountTimeoutMs = 60_000;
const unmountTimeoutMs = 30_000;
/** More mounts than this on one path are not ours to sort out. */
const maxStacked = 8;
const maxLinks = 10;
/** Why a target cannot be removed: rmdir(2), unlink(2). EEXIST is another spelling of ENOTEMPTY. */
const fixed = ["ENOTEMPTY", "EEXIST", "EBUSY", "EPERM", "EROFS"];

/** Mounts, seen only through /proc/self/mountinfo: a stat on a dead device hangs. */
export class Mounts {
  readonly #executor: Executor;
  readonly #tool: Tool;
  readonly #roots: readonly HostPath[] | undefined;

  constructor(executor: Executor, { roots }: MountsOptions = {}) {
    this.#executor = executor;
    this.#tool = new Tool(executor, mountFailures);
    this.#roots = roots;
  }

  async list(o: CallOptions): Promise<Mount[]> {
    const [info] = await this.#executor.files([mountinfoRead], o);
    return parseMountinfo(textOf(info) ?? "");
  }

  /** The mount that shows at this path, if one lies exactly there. */
  async find(target: HostPath, o: CallOptions): Promise<Mount | undefined> {
    const { path, mounts } = await this.#resolve(target, o);
    return mountsAt(mounts, path).at(-1);
  }

  /**
   * Mounts a device's filesystem, making the directory when absent. Already so is done; anything else at the target, or a
   * stack of mounts there, is a `precondition` failure.
   */
  async mountDevice({ device, target, type, options, readOnly }: DeviceMount, o: CallOptions): Promise<Mount> {
    const doing = `mount ${device} at ${target}`;
    const { path, mounts } = await this.#resolve(target, o);
    const majorMinor = await this.#deviceNumber(doing, device, o);
    const isWanted = (mount: Mount): boolean =>
      mount.majorMinor === majorMinor && mount.root === "/" && mount.type === type && isReadOnly(mount) === readOnly;
    const present = this.#single(doing, mounts, path);
    if (present !== undefined) return this.#adopt(doing, present, isWanted(present));
    await this.#ensureDirectory(path, o);
    const flags = [readOnly ? "ro" : "rw", ...options].join(",");
    const argv: Argv = ["mount", "-t", type, "-o", flags, device, path];
    await this.#tool.run(doing, argv, withTimeout(o, mountTimeoutMs));
    return await this.#verify(doing, path, isWanted, o);
  }

  /** Shows a directory, or a device node, at a second place. Makes the target: a directory or an empty file. */
  async bindMount({ source, target, readOnly }: BindMount, o: CallOptions): Promise<Mount> {
    const doing = `bind ${source} at ${target}`;
    const { path, mounts } = await this.#resolve(target, o);
    const from = mountOf(mounts, source);
    if (from === undefined) throw new BugError("mountinfo has no root mount");
    const root = posix.join(from.root, source.slice(from.target === "/" ? 0 : from.target.length));
    const isSame = (mount: Mount): boolean => mount.majorMinor === from.majorMinor && mount.root === root;
    const isWanted = (mount: Mount): boolean => isSame(mount) && (!readOnly || isReadOnly(mount));
    const limits = withTimeout(o, mountTimeoutMs);
    const present = this.#single(doing, mounts, path);
    if (present !== undefined && !isSame(present)) return this.#adopt(doing, present, false);
    if (present === undefined) {
      if (isUnder(source, "/dev")) await this.#ensureFile(path, o);
      else await this.#ensureDirectory(path, o);
      await this.#tool.run(doing, ["mount", "--bind", source, path], limits);
    }
    // A bind takes the source's flags: read-only is a second call of its own (mount(8), "bind mounts").
    const afterBind = await this.#verify(doing, path, isSame, o);
    if (!readOnly || isReadOnly(afterBind)) return afterBind;
    await this.#tool.run(`${doing} read-only`, ["mount", "-o", "remount,bind,ro", path], limits);
    return await this.#verify(doing, path, isWanted, o);
  }

  /** Takes away every mount at this path, also stacked ones. None is done. Never lazy, never forced. */
  async unmount(target: HostPath, o: CallOptions): Promise<void> {
    const doing = `unmount ${target}`;
    const { path, mounts } = await this.#resolve(target, o);
    let left = mountsAt(mounts, path).length;
    for (let round = 0; left > 0; round += 1) {
      if (round === maxStacked) {
        throw new StorageError("precondition", `${doing} on ${this.#executor.host}: ${left} mounts are still stacked there`);
      }
      await this.#unmountTop(doing, path, o);
      left = mountsAt(await this.list(o), path).length;
    }
  }

  /**
   * Removes an unmounted target: an empty directory or an empty file. Absent is done. What has content, or is fixed in place, is
   * kept: it is not ours, and says nothing about the mount.
   */
  async removeTarget(target: HostPath, o: CallOptions): Promise<"removed" | "kept"> {
    const doing = `remove ${target} on ${this.#executor.host}`;
    const { path, mounts } = await this.#resolve(target, o);
    if (mountsAt(mounts, path).length > 0) throw new StorageError("precondition", `${doing}: something is mounted there`);
    try {
      const gone = ["ENOENT"];
      const [removed] = await this.#executor.files([{ op: "rmdir", path, tolerate: [...gone, "ENOTDIR", ...fixed] }], o);
      if (removed?.errno !== "ENOTDIR") return isKept(removed) ? "kept" : "removed";
      const [content] = await this.#executor.files([{ op: "read", path, maxBytes: 1, tolerate: gone }], o);
      if ((textOf(content) ?? "") !== "") return "kept";
      const [unlinked] = await this.#executor.files([{ op: "unlink", path, tolerate: [...gone, ...fixed] }], o);
      return isKept(unlinked) ? "kept" : "removed";
    } catch (error) {
      throw wrapError(doing, error);
    }
  }

  async #unmountTop(doing: string, path: string, o: CallOptions): Promise<void> {
    const argv: Argv = ["umount", path];
    try {
      const result = await this.#tool.exit(argv, withTimeout(o, unmountTimeoutMs));
      if (result.exitCode === 0) return;
      const failure = this.#tool.failure(doing, argv, result);
      if (failure.reason === "busy") throw nameHolders(failure, mountedBelow(await this.list(o), path));
      // Somebody else unmounted it in between; the caller looks again.
      if (failure.reason !== "not_found") throw failure;
    } catch (error) {
      if (error instanceof CommandError && error.reason === "timeout") {
        throw new StorageError("unavailable", `${doing} on ${this.#executor.host}`, {
          cause: error,
          hint: "The device may have stopped answering; its writes are still waiting.",
        });
      }
      throw error;
    }
  }

  /**
   * Follows symbolic links in the path, as mountinfo shows real paths only, and holds the result against the roots. The
   * usual path has no links and costs one round trip, mountinfo included.
   */
  async #resolve(target: HostPath, o: CallOptions): Promise<{ path: HostPath; mounts: Mount[] }> {
    let path = target;
    for (let hop = 0; hop <= maxLinks; hop += 1) {
      if (this.#roots !== undefined) assertUnderRoots(path, this.#roots, "target");
      const prefixes = ancestorsAndSelf(path);
      const reads: FileOperation[] = prefixes.map((prefix) => ({
        op: "readlink",
        path: prefix,
        tolerate: ["EINVAL", "ENOENT", "ENOTDIR"],
      }));
      const [info, ...links] = await this.#executor.files([mountinfoRead, ...reads], o);
      const index = links.findIndex((link) => link.text !== undefined);
      const link = prefixes[index];
      const to = links[index]?.text;
      if (link === undefined || to === undefined) return { path, mounts: parseMountinfo(textOf(info) ?? "") };
      path = parseHostPath(posix.join(posix.resolve(posix.dirname(link), to), path.slice(link.length)), "target");
    }
    throw new StorageError("precondition", `resolve ${target} on ${this.#executor.host}: too many symbolic links`);
  }

  #single(doing: string, mounts: readonly Mount[], path: string): Mount | undefined {
    const present = mountsAt(mounts, path);
    if (present.length > 1) {
      throw this.#refusal(doing, `${present.length} mounts are stacked there`, "Unmount them first.");
    }
    return present[0];
  }

  #adopt(doing: string, present: Mount, wanted: boolean): Mount {
    if (wanted) return present;
    const { source, type, root, options } = present;
    throw this.#refusal(doing, `${source} (${type}, root ${root}, ${options[0] ?? ""}) is mounted there`, "Unmount it first.");
  }

  async #verify(doing: string, path: string, isWanted: (mount: Mount) => boolean, o: CallOptions): Promise<Mount> {
    const present = mountsAt(await this.list(o), path);
    const top = present.at(-1);
    if (top !== undefined && present.length === 1 && isWanted(top)) return top;
    const seen = top === undefined ? "nothing is mounted there" : `${present.length} mounts, the top one of ${top.source}`;
    throw new StorageError("internal", `${doing} on ${this.#executor.host}: when read back, ${seen}`);
  }

  #refusal(doing: string, what: string, hint: string): StorageError {
    const { host } = this.#executor;
    return new StorageError("precondition", `${doing} on ${host}: ${what}`, { details: { host }, hint });
  }

  async #deviceNumber(doing: string, device: string, o: CallOptions): Promise<string> {
    const name = posix.basename(device);
    const [number] = await this.#executor.files(
      [{ op: "read", path: `/sys/class/block/${name}/dev`, tolerate: ["ENOENT"] }],
      o,
    );
    const text = textOf(number)?.trim();
    if (text === undefined) throw this.#refusal(doing, `there is no ${device}`, "Connect the volume first.");
    return text;
  }

  async #ensureDirectory(path: HostPath, o: CallOptions): Promise<void> {
    await this.#executor.files(directoryOperations(ancestorsAndSelf(path)), o);
  }

  async #ensureFile(path: HostPath, o: CallOptions): Promise<void> {
    const parents = ancestorsAndSelf(path).slice(0, -1);
    const present = await this.#executor.files(
      [...directoryOperations(parents), { op: "read", path, maxBytes: 1, tolerate: ["ENOENT"] }],
      o,
    );
    const content = textOf(present.at(-1));
    if (content === "") return;
    if (content !== undefined) throw this.#refusal(`use ${path} as a mount target`, "the file is not empty", "Remove it.");
    await this.#executor.files([{ op: "write", path, content: "", create: { mode: 0o600 } }], o);
  }
}

function isKept(result: FileResult | undefined): boolean {
  return fixed.includes(result?.errno ?? "");
}

function directoryOperations(paths: readonly string[]): FileOperation[] {
  return paths.map((path) => ({ op: "mkdir", path, mode: 0o750, tolerate: ["EEXIST"] }));
}

/** Of the mount or of the whole filesystem. */
function isReadOnly(mount: Mount): boolean {
  return mount.options.includes("ro") || mount.superOptions.includes("ro");
}

/** What keeps a mount from going besides programs: other mounts in it. */
function mountedBelow(mounts: readonly Mount[], path: string): Holder[] {
  const below = mounts.filter(({ target }) => target.startsWith(`${path}/`));
  return below.map(({ target }) => ({ what: `a mount at ${target}`, remedy: `Unmount ${target} first.` }));
}
