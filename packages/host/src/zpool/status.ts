import { StorageError } from "@zfsilo/lib";
import type { PoolLayout, StripeLayout } from "./reservation.ts";

export interface VdevStatus {
  readonly name: string;
  /** ONLINE, DEGRADED, …; empty for a heading such as `logs`. */
  readonly state: string;
  readonly readErrors: bigint;
  readonly writeErrors: bigint;
  readonly checksumErrors: bigint;
  /** What stands after the counters, e.g. `too many errors`. */
  readonly note: string;
  readonly children: readonly VdevStatus[];
}

export interface ScrubStatus {
  readonly state: "scanning" | "finished" | "canceled";
  /** The text of a time in the host's own zone, e.g. `Sat Nov 21 17:02:11 2026`; empty when zpool does not say. */
  readonly startedAt: string;
  readonly endedAt: string;
  readonly percent: number;
  readonly errors: bigint;
}

export interface PoolStatus {
  readonly name: string;
  readonly state: string;
  /** What zpool says is wrong; empty when nothing is. */
  readonly problem: string;
  /** The last scrub; a resilver since then hides it. */
  readonly scrub: ScrubStatus | undefined;
  /** The pool itself, with its devices; headings (`logs`, `cache`, `spares`) come last. Undefined when zpool shows none. */
  readonly root: VdevStatus | undefined;
  readonly dataErrors: bigint;
}

/**
 * `zpool status -p`: fields `  name: text`, continued on lines that begin with a tab, and under `config:` a table whose first
 * column is indented by two spaces a level. Sample in testdata/.
 */
export function parsePoolStatuses(stdout: string): PoolStatus[] {
  const sections: string[][] = [];
  for (const line of stdout.split("\n")) {
    if (/^ {2}pool: /.test(line)) sections.push([]);
    sections.at(-1)?.push(line);
  }
  return sections.map(parseSection);
}

function parseSection(lines: readonly string[]): PoolStatus {
  const fields = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of lines) {
    // Names stand right-aligned in six columns.
    const match = /^ {0,5}([a-z]+):(?: (.*))?$/.exec(line);
    if (match?.[1] !== undefined) {
      current = [match[2] ?? ""];
      fields.set(match[1], current);
    } else {
      current.push(line);
    }
  }
  const text = (name: string): string => (fields.get(name) ?? []).map((line) => line.trim()).filter(Boolean).join(" ");
  const name = text("pool");
  const state = text("state");
  if (name === "" || state === "") throw new StorageError("internal", "read the status of a pool: it has no name or no state");
  return {
    name,
    state,
    problem: text("status"),
    scrub: parseScrub((fields.get("scan") ?? []).map((line) => line.trim())),
    root: parseTree(fields.get("config") ?? []),
    dataErrors: parseErrors(text("errors")),
  };
}

/** `No known data errors`, `3 data errors, use '-v' for a list`, `List of errors unavailable: pool I/O is currently suspended`. */
function parseErrors(text: string): bigint {
  const count = /^(\d+) data errors/.exec(text)?.[1];
  return BigInt(count ?? 0);
}

/**
 * `scrub repaired 0B in 00:00:03 with 0 errors on Sat Nov 21 17:02:14 2026`, `scrub in progress since DATE` with `45.10% done` two
 * lines on, `scrub canceled on DATE`, `scrub paused since DATE`; or a resilver, or `none requested`, which say nothing of a scrub.
 */
function parseScrub(lines: readonly string[]): ScrubStatus | undefined {
  const all = lines.join("\n");
  const finished = /^scrub repaired \S+ in (.+?) with (\d+) errors on (.+)$/m.exec(all);
  if (finished?.[2] !== undefined) {
    return { state: "finished", startedAt: "", endedAt: finished[3] ?? "", percent: 100, errors: BigInt(finished[2]) };
  }
  const canceled = /^scrub canceled on (.+)$/m.exec(all);
  if (canceled !== null) return { state: "canceled", startedAt: "", endedAt: canceled[1] ?? "", percent: 0, errors: 0n };
  const running = /^scrub (?:in progress|paused) since (.+)$/m.exec(all);
  if (running === null) return undefined;
  const percent = Number(/([\d.]+)% done/.exec(all)?.[1] ?? 0);
  const startedAt = /scrub started on (.+)$/m.exec(all)?.[1] ?? running[1] ?? "";
  return { state: "scanning", startedAt, endedAt: "", percent, errors: 0n };
}

interface Building extends VdevStatus {
  readonly children: Building[];
}

function parseTree(lines: readonly string[]): VdevStatus | undefined {
  let root: Building | undefined;
  const open: Building[] = [];
  for (const line of lines) {
    const match = /^\t( *)(\S+)\s*(.*)$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined || match[2] === "NAME" || match[2] === "errors:") continue;
    const depth = match[1].length / 2;
    const vdev = parseVdev(match[2], match[3] ?? "");
    if (root === undefined) {
      root = vdev;
      open[0] = vdev;
      continue;
    }
    // Headings stand as far left as the pool, and belong to it.
    const parent = depth === 0 ? root : open[depth - 1];
    if (parent === undefined) throw new StorageError("internal", `read the status of a pool: ${JSON.stringify(line)} hangs in the air`);
    parent.children.push(vdev);
    open[depth] = vdev;
    open.length = depth + 1;
  }
  return root;
}

/** `ONLINE       0     0     0  (resilvering)`, `AVAIL`, or nothing for a heading. */
function parseVdev(name: string, columns: string): Building {
  const counted = /^(\S+)\s+(\d+)\s+(\d+)\s+(\d+)\s*(.*)$/.exec(columns);
  if (counted !== null) {
    const [, state = "", read = "0", write = "0", checksum = "0", note = ""] = counted;
    const errors = { readErrors: BigInt(read), writeErrors: BigInt(write), checksumErrors: BigInt(checksum) };
    return { name, state, ...errors, note: note.trim(), children: [] };
  }
  const [, state = "", note = ""] = /^(\S*)\s*(.*)$/.exec(columns) ?? [];
  return { name, state, readErrors: 0n, writeErrors: 0n, checksumErrors: 0n, note: note.trim(), children: [] };
}

/** Which groups data blocks go to: those of the pool itself, not of logs, cache or spares. */
export function stripesOf(root: VdevStatus | undefined): PoolLayout["stripes"] {
  return (root?.children ?? []).flatMap(({ name, children }): readonly StripeLayout[] => {
    const raidz = /^raidz([123])-\d+$/.exec(name)?.[1];
    if (raidz !== undefined) return [{ kind: "raidz", parity: Number(raidz), devices: children.length }];
    const draid = /^draid([123]):(\d+)d:/.exec(name);
    if (draid?.[1] === undefined || draid[2] === undefined) return [];
    return [{ kind: "draid", parity: Number(draid[1]), devices: Number(draid[2]) }];
  });
}
