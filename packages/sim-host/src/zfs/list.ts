import type { RunResult } from "@zfsilo/command";
import { UnmodelledError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import { lastValue, parseOptions, ToolFailure, type Options, type Program } from "../program.ts";
import { descendants, findDataset, snapshotKey, snapshotsOf } from "./datasets.ts";
import { canonicalName, isKnownProperty, isUserProperty, nativeNames, ruleOf } from "./properties.ts";
import { propertiesOf, showProperty } from "./show.ts";

const kinds = ["filesystem", "volume", "snapshot"] as const;
type Kind = (typeof kinds)[number];

export const zfsList: Program = (machine, args) => {
  const options = parseOptions("zfs list", args, { flags: ["-H", "-p", "-r"], values: ["-o", "-t", "-d", "-s", "-S"] });
  requireMachineOutput("zfs list", options);
  const columns = (lastValue(options, "-o") ?? "name,used,available,referenced,mountpoint").split(",").map(canonicalName);
  checkColumns(columns);
  const { names, problems } = select(machine, options, options.rest);
  const lines = sorted(machine, names, options).map((name) => {
    const show = propertiesOf(machine, name);
    return columns.map((column) => show(column).value).join("\t");
  });
  return answer(lines, problems);
};

const fields = ["name", "property", "value", "source"] as const;
const sources = ["local", "default", "inherited", "none"] as const;

export const zfsGet: Program = (machine, args) => {
  const options = parseOptions("zfs get", args, { flags: ["-H", "-p", "-r"], values: ["-o", "-t", "-d", "-s"] });
  requireMachineOutput("zfs get", options);
  const [asked, ...operands] = options.rest;
  if (asked === undefined) throw new ToolFailure(2, "missing property argument");
  const shown = (lastValue(options, "-o") ?? fields.join(",")).split(",");
  for (const field of shown) if (!fields.some((known) => known === field)) throw new UnmodelledError(`zfs get -o ${field}`);
  const wanted = lastValue(options, "-s")?.split(",");
  for (const source of wanted ?? []) {
    if (!sources.some((known) => known === source)) throw new UnmodelledError(`zfs get -s ${source}`);
  }
  const named = asked.split(",").map(canonicalName);
  if (asked !== "all") checkColumns(named);
  const { names, problems } = select(machine, options, operands);
  const lines: string[] = [];
  for (const name of names) {
    const show = propertiesOf(machine, name);
    for (const property of asked === "all" ? allProperties(machine, name) : named) {
      const { value, source } = show(property);
      const category = source === "-" ? "none" : (source.split(" ", 1)[0] ?? source);
      if (wanted?.includes(category) === false) continue;
      const row: Readonly<Record<string, string>> = { name, property, value, source };
      lines.push(shown.map((field) => row[field] ?? "").join("\t"));
    }
  }
  return answer(lines, problems);
};

/** People's output (rounded sizes, padded columns) is nothing we read: not modelled. */
function requireMachineOutput(program: string, options: Options): void {
  if (!options.flags.has("-H") || !options.flags.has("-p")) throw new UnmodelledError(`${program} without -Hp`);
}

function checkColumns(columns: readonly string[]): void {
  for (const column of columns) {
    if (!isKnownProperty(column)) {
      const usage = "usage:\n\tget [-rHp] [-d max] [-o \"all\" | field[,...]]\n\t    [-t type[,...]] [-s source[,...]]\n";
      throw new ToolFailure(2, `bad property list: invalid property '${column}'\n${usage}`);
    }
  }
}

function allProperties(machine: Machine, name: string): readonly string[] {
  const kind = kindOf(machine, name);
  const native = nativeNames.filter((property) => ruleOf(property)?.on.includes(kind));
  const user = new Set<string>();
  const [dataset = name] = name.split("@", 1);
  for (let length = dataset.split("/").length; length >= 1; length -= 1) {
    const props = findDataset(machine, dataset.split("/").slice(0, length).join("/"))?.props ?? {};
    for (const property of Object.keys(props)) if (isUserProperty(property)) user.add(property);
  }
  return [...native, ...[...user].sort()];
}

/** The datasets a command line names: each operand that exists and, with -r or -d, what is below it, of the wanted types. */
function select(machine: Machine, options: Options, operands: readonly string[]): { names: string[]; problems: string[] } {
  const depthText = lastValue(options, "-d");
  const explicit = depthText ?? (options.flags.has("-r") ? "all" : undefined);
  const asked = lastValue(options, "-t")?.split(",");
  const types = asked?.flatMap((type): readonly Kind[] => {
    const found = kinds.find((kind) => kind === type || kind.startsWith(type));
    if (type !== "all" && found === undefined) throw new UnmodelledError(`type ${type}`);
    return found === undefined || type === "all" ? kinds : [found];
  });
  const names: string[] = [];
  const problems: string[] = [];
  const roots = operands.length === 0 ? machine.model.pools.children(machine.name) : operands;
  const depth = depthOf(explicit, operands, types);
  for (const root of roots) {
    if (!exists(machine, root)) {
      problems.push(`cannot open '${root}': dataset does not exist`);
      continue;
    }
    const filter = types ?? (root.includes("@") ? kinds : ["filesystem", "volume"]);
    for (const name of walk(machine, root, depth, filter.includes("snapshot") && depth > 0)) {
      if (filter.includes(kindOf(machine, name))) names.push(name);
    }
  }
  return { names, problems };
}

/** Without operands everything is listed; a type of snapshot alone looks one level below a named dataset. */
function depthOf(explicit: string | undefined, operands: readonly string[], types: readonly Kind[] | undefined): number {
  if (explicit === "all") return Number.POSITIVE_INFINITY;
  if (explicit !== undefined) return Number(explicit);
  if (operands.length === 0) return Number.POSITIVE_INFINITY;
  return types?.every((type) => type === "snapshot") === true ? 1 : 0;
}

function* walk(machine: Machine, root: string, depth: number, withSnapshots: boolean): Generator<string> {
  yield root;
  if (root.includes("@") || depth <= 0) return;
  if (withSnapshots) for (const snapshot of snapshotsOf(machine, root)) yield `${root}@${snapshot}`;
  const below = root.split("/").length;
  for (const name of descendants(machine, root, depth)) {
    yield name;
    // A snapshot is one level below its dataset.
    if (!withSnapshots || name.split("/").length - below >= depth) continue;
    for (const snapshot of snapshotsOf(machine, name)) yield `${name}@${snapshot}`;
  }
}

function exists(machine: Machine, name: string): boolean {
  if (name.includes("@")) return machine.model.snapshots.has(snapshotKey(machine, name));
  return machine.model.datasets.has(machine.at(name));
}

function kindOf(machine: Machine, name: string): Kind {
  return name.includes("@") ? "snapshot" : (findDataset(machine, name)?.type ?? "filesystem");
}

function sorted(machine: Machine, names: readonly string[], options: Options): readonly string[] {
  const key = lastValue(options, "-s") ?? lastValue(options, "-S");
  if (key === undefined) return names;
  const sign = lastValue(options, "-s") === undefined ? -1 : 1;
  const value = (name: string): string => showProperty(machine, name, canonicalName(key)).value;
  return [...names].sort((a, b) => sign * value(a).localeCompare(value(b), "en", { numeric: true }));
}

function answer(lines: readonly string[], problems: readonly string[]): RunResult {
  const text = (rows: readonly string[]): string => rows.map((row) => `${row}\n`).join("");
  return { exitCode: problems.length === 0 ? 0 : 1, stdout: text(lines), stderr: text(problems) };
}
