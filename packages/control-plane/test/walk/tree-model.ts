import { refused } from "./walker.ts";

/** What the API promises of volumes that are made of each other: who needs whom, and whose bytes each of them has. */
export const treeVolumes = ["vol_a", "vol_b", "vol_c", "vol_d"] as const;
export type TreeVolume = (typeof treeVolumes)[number];

export const treeSnapshots = ["snap_one", "snap_two", "snap_three"] as const;
export const treeGroups = ["grp_one", "grp_two"] as const;
export type TreeGroup = (typeof treeGroups)[number];

/** A snapshot by its own id, or as one of a group, whose ids are made up. */
export type SnapshotRef = (typeof treeSnapshots)[number] | { readonly group: TreeGroup; readonly index: number };

export type TreeCall =
  | { readonly kind: "create" | "write"; readonly volume: TreeVolume }
  | { readonly kind: "copy"; readonly volume: TreeVolume; readonly mode: "clone" | "full"; readonly from: { readonly volume: TreeVolume } | { readonly snapshot: SnapshotRef } }
  | { readonly kind: "delete"; readonly volume: TreeVolume; readonly policy: "refuse" | "delete" | "promote_clone" }
  | { readonly kind: "rollback"; readonly volume: TreeVolume; readonly snapshot: SnapshotRef; readonly destroyLater: boolean }
  | { readonly kind: "take"; readonly snapshot: (typeof treeSnapshots)[number]; readonly volume: TreeVolume }
  | { readonly kind: "remove"; readonly snapshot: SnapshotRef; readonly tombstone: boolean }
  | { readonly kind: "hold" | "release"; readonly snapshot: SnapshotRef; readonly tag: "backup" | "legal" }
  | { readonly kind: "group"; readonly group: TreeGroup; readonly volumes: readonly TreeVolume[] }
  | { readonly kind: "ungroup"; readonly group: TreeGroup };

interface VolumeNode {
  /** The call that made it. */
  readonly made: string;
  readonly content: string;
  /** Of its thin clones alone: a snapshot. */
  readonly origin: string | undefined;
  /** The snapshots that its zvol holds, oldest first. */
  readonly held: readonly string[];
  /** A rollback that was the last thing done to it. */
  readonly rolledBack: string | undefined;
}

interface SnapshotNode {
  readonly made: string;
  readonly of: TreeVolume;
  readonly content: string;
  readonly state: "ready" | "tombstoned";
  readonly holds: readonly string[];
  readonly group: string;
}

export interface Tree {
  readonly volumes: Readonly<Partial<Record<TreeVolume, VolumeNode>>>;
  /** By id, or by a name for one whose id is made up. */
  readonly snapshots: Readonly<Record<string, SnapshotNode>>;
  readonly groups: Readonly<Record<string, { readonly members: readonly string[] }>>;
  /** How often something was done, so that names and bytes differ. */
  readonly count: number;
}

export const bare: Tree = { volumes: {}, snapshots: {}, groups: {}, count: 0 };

type Next = Tree | typeof refused;

export function after(tree: Tree, call: TreeCall): Next {
  const made = JSON.stringify(call);
  switch (call.kind) {
    case "create":
      return asBefore(tree, call.volume, made) ?? withVolume(tree, call.volume, { made, content: "", origin: undefined, held: [], rolledBack: undefined });
    case "write": {
      const found = tree.volumes[call.volume];
      return found === undefined ? refused : withVolume(tree, call.volume, { ...found, content: writtenBy(tree), rolledBack: undefined });
    }
    case "copy":
      return asBefore(tree, call.volume, made) ?? copied(tree, call, made);
    case "delete":
      return deleted(tree, call.volume, call.policy);
    case "rollback":
      return rolledBack(tree, call, made);
    case "take":
      return taken(tree, call, made);
    case "remove":
      return removed(tree, call.snapshot, call.tombstone);
    case "hold":
    case "release":
      return held(tree, call);
    case "group":
      return grouped(tree, call);
    case "ungroup":
      return ungrouped(tree, call.group);
  }
}

/** What a write at this point puts on a volume. */
export const writtenBy = ({ count }: Tree): string => `bytes ${String(count).padStart(6, "0")}`;

function clonesOf(tree: Tree, snapshot: string): TreeVolume[] {
  return treeVolumes.filter((name) => tree.volumes[name]?.origin === snapshot);
}

/** Undefined: there is none (any more). */
export function resolve(tree: Tree, ref: SnapshotRef): string | undefined {
  const id = typeof ref === "string" ? ref : tree.groups[ref.group]?.members[ref.index];
  return id !== undefined && id in tree.snapshots ? id : undefined;
}

/** A volume of that id is there: the same call is answered again, any other refused. */
function asBefore(tree: Tree, volume: TreeVolume, made: string): Next | undefined {
  const found = tree.volumes[volume];
  if (found === undefined) return undefined;
  return found.made === made ? tree : refused;
}

function copied(tree: Tree, { volume, mode, from }: Extract<TreeCall, { kind: "copy" }>, made: string): Next {
  const fresh = { made, held: [], rolledBack: undefined };
  if ("snapshot" in from) {
    const id = resolve(tree, from.snapshot);
    const snapshot = id === undefined ? undefined : tree.snapshots[id];
    if (snapshot?.state !== "ready") return refused;
    return withVolume(tree, volume, { ...fresh, content: snapshot.content, origin: mode === "clone" ? id : undefined });
  }
  const source = tree.volumes[from.volume];
  if (source === undefined) return refused;
  if (mode === "full") return withVolume(tree, volume, { ...fresh, content: source.content, origin: undefined });
  const hidden = `hidden-${tree.count}`;
  const node: SnapshotNode = { made: "", of: from.volume, content: source.content, state: "tombstoned", holds: [], group: "" };
  const at = { ...tree, snapshots: { ...tree.snapshots, [hidden]: node } };
  const held = withVolume(at, from.volume, { ...source, held: [...source.held, hidden] });
  return withVolume(held, volume, { ...fresh, content: source.content, origin: hidden });
}

function deleted(tree: Tree, name: TreeVolume, policy: "refuse" | "delete" | "promote_clone"): Next {
  const volume = tree.volumes[name];
  if (volume === undefined) return tree;
  const needed = (id: string): boolean => isNeeded(tree, id);
  if (volume.held.length === 0) return withoutVolume(tree, name);
  if (policy === "refuse") return refused;
  if (policy === "delete") return volume.held.some(needed) ? refused : withoutVolume(withoutSnapshots(tree, volume.held), name);
  const index = volume.held.findLastIndex((id) => clonesOf(tree, id).length > 0);
  const heir = clonesOf(tree, volume.held[index] ?? "")[0];
  const clone = heir === undefined ? undefined : tree.volumes[heir];
  if (heir === undefined || clone === undefined || index < volume.held.length - 1) return refused;
  const promoted = withVolume(tree, heir, { ...clone, origin: volume.origin, held: [...volume.held, ...clone.held] });
  return withoutVolume(withVolume(promoted, name, { ...volume, origin: volume.held[index], held: [] }), name);
}

function rolledBack(tree: Tree, { volume: name, snapshot: ref, destroyLater }: Extract<TreeCall, { kind: "rollback" }>, made: string): Next {
  const volume = tree.volumes[name];
  if (volume === undefined) return refused;
  const id = resolve(tree, ref);
  // Repeated while nothing was done to the volume since: it is so already.
  if (volume.rolledBack === `${made} ${id ?? ""}`) return tree;
  const snapshot = id === undefined ? undefined : tree.snapshots[id];
  if (id === undefined || snapshot?.state !== "ready" || !volume.held.includes(id)) return refused;
  const later = volume.held.slice(volume.held.indexOf(id) + 1);
  if (later.length > 0 && !destroyLater) return refused;
  if (later.some((one) => isNeeded(tree, one))) return refused;
  const kept = volume.held.filter((one) => !later.includes(one));
  return withVolume(withoutSnapshots(tree, later), name, { ...volume, held: kept, content: snapshot.content, rolledBack: `${made} ${id}` });
}

function taken(tree: Tree, { snapshot, volume: name }: Extract<TreeCall, { kind: "take" }>, made: string): Next {
  const volume = tree.volumes[name];
  const existing = tree.snapshots[snapshot];
  if (existing !== undefined) {
    // Of an earlier volume of that name it is another one.
    const same = existing.made === made && existing.state === "ready" && (volume === undefined || volume.held.includes(snapshot));
    return same ? tree : refused;
  }
  if (volume === undefined) return refused;
  const node: SnapshotNode = { made, of: name, content: volume.content, state: "ready", holds: [], group: "" };
  return withVolume({ ...tree, snapshots: { ...tree.snapshots, [snapshot]: node } }, name, { ...volume, held: [...volume.held, snapshot] });
}

function removed(tree: Tree, ref: SnapshotRef, tombstone: boolean): Next {
  const id = resolve(tree, ref);
  const snapshot = id === undefined ? undefined : tree.snapshots[id];
  if (id === undefined || snapshot?.state !== "ready") return tree;
  if (snapshot.group !== "" || snapshot.holds.length > 0) return refused;
  if (clonesOf(tree, id).length === 0) return withoutSnapshots(tree, [id]);
  return tombstone ? withSnapshot(tree, id, { ...snapshot, state: "tombstoned" }) : refused;
}

function held(tree: Tree, { kind, snapshot: ref, tag }: Extract<TreeCall, { kind: "hold" | "release" }>): Next {
  const id = resolve(tree, ref);
  const snapshot = id === undefined ? undefined : tree.snapshots[id];
  if (id === undefined || snapshot?.state !== "ready") return refused;
  const others = snapshot.holds.filter((one) => one !== tag);
  return withSnapshot(tree, id, { ...snapshot, holds: kind === "hold" ? [...others, tag].sort() : others });
}

function grouped(tree: Tree, { group, volumes: names }: Extract<TreeCall, { kind: "group" }>): Next {
  const existing = tree.groups[group];
  if (existing !== undefined) return sameGroup(tree, existing.members, names) ? tree : refused;
  let at = tree;
  const members: string[] = [];
  for (const name of names) {
    const volume = at.volumes[name];
    if (volume === undefined) return refused;
    const id = `${group}-${tree.count}-${name}`;
    members.push(id);
    const node: SnapshotNode = { made: "", of: name, content: volume.content, state: "ready", holds: [], group };
    at = withVolume({ ...at, snapshots: { ...at.snapshots, [id]: node } }, name, { ...volume, held: [...volume.held, id] });
  }
  return { ...at, groups: { ...at.groups, [group]: { members } } };
}

/** Of the same volumes, in whatever order, and of no earlier ones of those names. */
function sameGroup(tree: Tree, members: readonly string[], names: readonly TreeVolume[]): boolean {
  const of = members.map((id) => tree.snapshots[id]?.of);
  if ([...of].sort().join() !== [...names].sort().join()) return false;
  return members.every((id, index) => {
    const name = of[index];
    const volume = name === undefined ? undefined : tree.volumes[name];
    return volume === undefined || volume.held.includes(id);
  });
}

function ungrouped(tree: Tree, group: TreeGroup): Next {
  const found = tree.groups[group];
  if (found === undefined) return tree;
  if (found.members.some((id) => (tree.snapshots[id]?.holds.length ?? 0) > 0 || clonesOf(tree, id).length > 0)) return refused;
  const { [group]: _gone, ...groups } = tree.groups;
  return { ...withoutSnapshots(tree, found.members), groups };
}

function isNeeded(tree: Tree, id: string): boolean {
  const snapshot = tree.snapshots[id];
  return clonesOf(tree, id).length > 0 || (snapshot?.holds.length ?? 0) > 0 || (snapshot?.group ?? "") !== "";
}

function withVolume(tree: Tree, name: TreeVolume, node: VolumeNode): Tree {
  return { ...tree, volumes: { ...tree.volumes, [name]: node }, count: tree.count + 1 };
}

function withSnapshot(tree: Tree, id: string, node: SnapshotNode): Tree {
  return { ...tree, snapshots: { ...tree.snapshots, [id]: node } };
}

/** A tombstone that was kept for it alone goes with it. */
function withoutVolume(tree: Tree, name: TreeVolume): Tree {
  const { [name]: gone, ...volumes } = tree.volumes;
  const left = { ...tree, volumes, count: tree.count + 1 };
  const origin = gone?.origin;
  if (origin === undefined || left.snapshots[origin]?.state !== "tombstoned" || clonesOf(left, origin).length > 0) return left;
  return withoutSnapshots(left, [origin]);
}

function withoutSnapshots(tree: Tree, ids: readonly string[]): Tree {
  const volumes = Object.fromEntries(
    Object.entries(tree.volumes).map(([name, volume]) => [name, { ...volume, held: volume.held.filter((id) => !ids.includes(id)) }]),
  );
  const snapshots = Object.fromEntries(Object.entries(tree.snapshots).filter(([id]) => !ids.includes(id)));
  return { ...tree, volumes, snapshots };
}
