import { UnmodelledError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { PoolDoc } from "../model.ts";
import { done, lastValue, parseOptions, ToolFailure, type Program } from "../program.ts";
import { exportPool, importPool, shelfOf } from "./pool-export.ts";

function poolProperty(name: string, pool: PoolDoc, property: string): string {
  const size = BigInt(pool.size);
  const allocated = BigInt(pool.allocated);
  switch (property) {
    case "name":
      return name;
    case "guid":
      return pool.guid;
    case "size":
      return size.toString();
    case "allocated":
    case "alloc":
      return allocated.toString();
    case "free":
      return (size - allocated).toString();
    case "capacity":
    case "cap":
      return ((allocated * 100n) / size).toString();
    case "fragmentation":
    case "frag":
      return "0";
    case "health":
      return healthOf(pool);
    case "readonly":
      return "off";
    case "ashift":
      return "0";
    case "autotrim":
    case "autoexpand":
      return "off";
    default:
      throw new UnmodelledError(`pool property ${property}`);
  }
}

function healthOf({ health }: PoolDoc): string {
  return health ?? "ONLINE";
}

const list: Program = (machine, args) => {
  const options = parseOptions("zpool list", args, { flags: ["-H", "-p"], values: ["-o"] });
  if (!options.flags.has("-H") || !options.flags.has("-p")) throw new UnmodelledError("zpool list without -Hp");
  const columns = (lastValue(options, "-o") ?? "name,size,allocated,free,fragmentation,capacity,health").split(",");
  return done(lines(machine, options.rest, (name, pool) => columns.map((column) => poolProperty(name, pool, column))));
};

const get: Program = (machine, args) => {
  const options = parseOptions("zpool get", args, { flags: ["-H", "-p"], values: ["-o"] });
  if (!options.flags.has("-H") || !options.flags.has("-p")) throw new UnmodelledError("zpool get without -Hp");
  const [asked = "", ...names] = options.rest;
  const fields = (lastValue(options, "-o") ?? "name,property,value,source").split(",");
  const rows = asked.split(",").map((property) =>
    lines(machine, names, (name, pool) => {
      const row: Readonly<Record<string, string>> = { name, property, value: poolProperty(name, pool, property), source: "-" };
      return fields.map((field) => row[field] ?? "-");
    }),
  );
  return done(rows.join(""));
};

const status: Program = (machine, args) => {
  const options = parseOptions("zpool status", args, { flags: ["-x", "-P", "-p"] });
  for (const name of options.rest) getPool(machine, name);
  if (options.flags.has("-x")) {
    const [only] = options.rest;
    return done(only === undefined ? "all pools are healthy\n" : `pool '${only}' is healthy\n`);
  }
  const names = options.rest.length > 0 ? options.rest : machine.model.pools.children(machine.name);
  if (names.length === 0) return done("no pools available\n");
  return done(names.map((name) => statusText(name, healthOf(getPool(machine, name)))).join("\n"));
};

/** What zpool prints beside each state, as ZFS 2.1.11 words it for a pool of one disk (a mirror, where it is degraded). */
function statusText(name: string, health: string): string {
  const row = (indent: string, vdev: string, state: string, note = ""): string =>
    `\t${`${indent}${vdev}`.padEnd(Math.max(10, name.length + 1))}  ${state.padEnd(8)}     0     0     0${note === "" ? "" : `  ${note}`}\n`;
  const table: Readonly<Record<string, readonly string[]>> = {
    ONLINE: [row("", name, "ONLINE"), row("  ", "vdb", "ONLINE")],
    DEGRADED: [row("", name, "DEGRADED"), row("  ", "mirror-0", "DEGRADED"), row("    ", "vdb", "ONLINE"), row("    ", "vdc", "OFFLINE")],
    SUSPENDED: [row("", name, "UNAVAIL", "insufficient replicas"), row("  ", "vdb", "UNAVAIL", "corrupted data")],
  };
  const problem: Readonly<Record<string, string>> = {
    ONLINE: "",
    DEGRADED:
      "status: One or more devices has been taken offline by the administrator.\n\tSufficient replicas exist for the pool to continue functioning in a\n\tdegraded state.\n" +
      "action: Online the device using 'zpool online' or replace the device with\n\t'zpool replace'.\n",
    SUSPENDED:
      "status: One or more devices are faulted in response to IO failures.\naction: Make sure the affected devices are connected, then run 'zpool clear'.\n",
  };
  const errors = health === "SUSPENDED" ? "List of errors unavailable: pool I/O is currently suspended" : "No known data errors";
  const head = `\t${"NAME".padEnd(Math.max(10, name.length + 1))}  STATE     READ WRITE CKSUM\n`;
  return `  pool: ${name}\n state: ${health}\n${problem[health] ?? ""}config:\n\n${head}${(table[health] ?? []).join("")}\nerrors: ${errors}\n`;
}

function lines(
  machine: Machine,
  asked: readonly string[],
  row: (name: string, pool: PoolDoc) => readonly string[],
): string {
  const names = asked.length > 0 ? asked : machine.model.pools.children(machine.name);
  return names.map((name) => `${row(name, getPool(machine, name)).join("\t")}\n`).join("");
}

function getPool(machine: Machine, name: string): PoolDoc {
  const pool = machine.model.pools.get(machine.at(name));
  if (pool === undefined) throw new ToolFailure(1, `cannot open '${name}': no such pool`);
  return pool;
}

const version: Program = () => done("zfs-2.1.11-1\nzfs-kmod-2.1.11-1\n");

const exports: Program = (machine, args) => {
  const [name = ""] = parseOptions("zpool export", args, {}).rest;
  getPool(machine, name);
  exportPool(machine, name);
  return done("");
};

const imports: Program = (machine, args) => {
  const [name = ""] = parseOptions("zpool import", args, {}).rest;
  if (machine.model.pools.has(machine.at(name))) {
    throw new ToolFailure(1, `cannot import '${name}': a pool with that name already exists\nuse the form 'zpool import <pool | id> <newpool>' to give it a new name`);
  }
  if (!machine.model.pools.has(shelfOf(machine).at(name))) throw new ToolFailure(1, `cannot import '${name}': no such pool available`);
  importPool(machine, name);
  return done("");
};

const subcommands: Readonly<Record<string, Program>> = { list, get, status, version, export: exports, import: imports };

export const zpool: Program = (machine, [subcommand = "", ...args], stdin) => {
  const found = Object.hasOwn(subcommands, subcommand) ? subcommands[subcommand] : undefined;
  if (found === undefined) throw new UnmodelledError(`zpool ${subcommand}`);
  return found(machine, args, stdin);
};
