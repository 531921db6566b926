import { Hang, UnmodelledError } from "../failure.ts";
import { done, parseOptions, type Program } from "../program.ts";
import { zfsCreate } from "./create.ts";
import { zfsDestroy } from "./destroy.ts";
import { zfsHold, zfsHolds, zfsRelease } from "./hold.ts";
import { zfsLoadKey, zfsUnloadKey } from "./keys.ts";
import { zfsGet, zfsList } from "./list.ts";
import { zfsPromote } from "./promote.ts";
import { zfsRename } from "./rename.ts";
import { zfsSend } from "./send.ts";
import { zfsInherit, zfsSet } from "./set.ts";
import { zfsClone, zfsRollback, zfsSnapshot } from "./snapshot.ts";

const version: Program = (_machine, args) => {
  parseOptions("zfs version", args, {});
  return done("zfs-2.1.11-1\nzfs-kmod-2.1.11-1\n");
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
  holds: zfsHolds,
  rename: zfsRename,
  send: zfsSend,
  "load-key": zfsLoadKey,
  "unload-key": zfsUnloadKey,
  promote: zfsPromote,
};

export const zfs: Program = (machine, [subcommand = "", ...args], stdin) => {
  const found = Object.hasOwn(subcommands, subcommand) ? subcommands[subcommand] : undefined;
  if (found === undefined) throw new UnmodelledError(`zfs ${subcommand}`);
  // I/O to a suspended pool waits for ever, and so does every command that needs some (seen with 2.1).
  const stuck = args.find((word) => machine.model.pools.get(machine.at(word.split(/[/@]/, 1)[0] ?? ""))?.health === "SUSPENDED");
  if (stuck !== undefined) throw new Hang(`zfs ${subcommand} ${stuck}: its pool is suspended`);
  return found(machine, args, stdin);
};
