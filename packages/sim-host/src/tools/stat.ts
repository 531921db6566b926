import { contentOf } from "../content.ts";
import { errnoText, KernelError, UnmodelledError } from "../failure.ts";
import { mountAt, viewOf } from "../files/mounts.ts";
import { Vfs } from "../files/vfs.ts";
import type { Machine } from "../machine.ts";
import { done, lastValue, parseOptions, ToolFailure, type Program } from "../program.ts";

const statBlock = 4096n;
/** What the disk a machine boots from holds, for paths that lie in no mount. */
const rootBytes = 16n * 1024n ** 3n;

/** stat -f with the fields S, s, b, f, a, c, d, T and n. */
export const stat: Program = (machine, args) => {
  const options = parseOptions("stat", args, { flags: ["-f"], values: ["-c"] });
  const format = lastValue(options, "-c");
  const [path, ...more] = options.rest;
  if (!options.flags.has("-f") || format === undefined || path === undefined || more.length > 0) {
    throw new UnmodelledError(`stat ${args.join(" ")}`);
  }
  const fail = (errno: string): ToolFailure =>
    new ToolFailure(1, `stat: cannot read file system information for '${path}': ${errnoText(errno)}`);
  try {
    const vfs = new Vfs(machine);
    if (vfs.kind(path) === undefined) throw fail("ENOENT");
    return done(`${statFields(machine, vfs.resolve(path), format)}\n`);
  } catch (error) {
    throw error instanceof KernelError ? fail(error.errno) : error;
  }
};

function statFields(machine: Machine, path: string, format: string): string {
  let at = path;
  while (at !== "" && mountAt(machine, at) === undefined) at = at.slice(0, at.lastIndexOf("/"));
  const mount = at === "" ? undefined : mountAt(machine, at);
  if (mount?.content !== undefined) viewOf(machine, mount, mount.content).check(false);
  const fs = mount?.content === undefined ? undefined : contentOf(machine.model, mount.content).fs;
  const size = BigInt(fs?.size ?? rootBytes);
  // About a sixteenth goes to inode tables and the journal; 5 % of an ext4 are kept for root.
  const total = (size - size / 16n) / statBlock;
  const free = total - BigInt(fs?.used ?? "0") / statBlock;
  const kept = fs?.type === "xfs" ? 0n : total / 20n;
  const inodes = size / 16_384n;
  const values: Readonly<Record<string, bigint | string>> = {
    S: statBlock,
    s: statBlock,
    b: total,
    f: free < 0n ? 0n : free,
    a: free < kept ? 0n : free - kept,
    c: inodes,
    d: inodes - 11n,
    T: fs === undefined || fs.type === "ext4" ? "ext2/ext3" : "xfs",
    n: path,
  };
  return format.replace(/%(.)/g, (_all, field: string) => {
    const value = values[field];
    if (value === undefined) throw new UnmodelledError(`stat -f -c %${field}`);
    return value.toString();
  });
}
