import { UnmodelledError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import type { PoolDoc } from "../model.ts";
import { done, lastValue, parseOptions, ToolFailure, type Program } from "../program.ts";

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
      return "ONLINE";
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
  const options = parseOptions("zpool status", args, { flags: ["-x", "-P"] });
  for (const name of options.rest) getPool(machine, name);
  if (options.flags.has("-x")) {
    const [only] = options.rest;
    return done(only === undefined ? "all pools are healthy\n" : `pool '${only}' is healthy\n`);
  }
  const names = options.rest.length > 0 ? options.rest : machine.model.pools.children(machine.name);
  if (names.length === 0) return done("no pools available\n");
  return done(names.map((name) => `  pool: ${name}\n state: ONLINE\nconfig:\n\n\terrors: No known data errors\n`).join("\n"));
};

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

const subcommands: Readonly<Record<string, Program>> = { list, get, status, version };

export const zpool: Program = (machine, [subcommand = "", ...args], stdin) => {
  const found = Object.hasOwn(subcommands, subcommand) ? subcommands[subcommand] : undefined;
  if (found === undefined) throw new UnmodelledError(`zpool ${subcommand}`);
  return found(machine, args, stdin);
};
