import { UnmodelledError } from "../failure.ts";
import { done, parseOptions, ToolFailure, type Program } from "../program.ts";
import { zfsCreate } from "./create.ts";
import { getDataset } from "./datasets.ts";
import { zfsDestroy } from "./destroy.ts";
import { zfsGet, zfsList } from "./list.ts";
import { zfsRename } from "./rename.ts";
import { zfsInherit, zfsSet } from "./set.ts";
import { zfsClone, zfsHold, zfsRelease, zfsRollback, zfsSnapshot } from "./snapshot.ts";

const version: Program = (_machine, args) => {
  parseOptions("zfs version", args, {});
  return done("zfs-2.1.11-1\nzfs-kmod-2.1.11-1\n");
};

/** Turning a clone and its origin round is not modelled; only the refusal is. */
const promote: Program = (machine, args) => {
  const [name] = parseOptions("zfs promote", args, {}).rest;
  if (name === undefined) throw new ToolFailure(2, "missing clone filesystem argument");
  if (getDataset(machine, name).origin === undefined) throw new ToolFailure(1, `cannot promote '${name}': not a cloned filesystem`);
  throw new UnmodelledError("zfs promote of a clone");
};

const subcommands: Readonly<Record<string, Program>> = {
  version,
  create: zfsCreate,
  list: zfsList,
  get: zfsGet,
  set: zfsSet,
  inherit: zfsInherit,
  destroy: zfsDestroy,
  snapshot: zfsSnapshot,
  clone: zfsClone,
  rollback: zfsRollback,
  hold: zfsHold,
  release: zfsRelease,
  rename: zfsRename,
  promote,
};

export const zfs: Program = (machine, [subcommand = "", ...args], stdin) => {
  const found = Object.hasOwn(subcommands, subcommand) ? subcommands[subcommand] : undefined;
  if (found === undefined) throw new UnmodelledError(`zfs ${subcommand}`);
  return found(machine, args, stdin);
};
