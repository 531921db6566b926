import { parseGroupSnapshotId, parseVolumeId, type VolumeId } from "@zfsilo/lib";
import assert from "node:assert/strict";
import { Orphans } from "../../src/reconcile/orphans.ts";
import type { SnapshotRecord, VolumeRecord } from "../../src/store/model.ts";
import { zfsNameOf } from "../../src/workflow/snapshot-ownership.ts";
import type { World } from "../world/world.ts";
import { treeGroups, treeSnapshots, treeVolumes, type Tree, type TreeVolume } from "./tree-model.ts";

const signal = new AbortController().signal;
const known: readonly string[] = treeSnapshots;

/** Snapshots by their place, since some have made-up ids: `VOLUME#INDEX` of the volume that holds it. */
export function treePicture({ volumes, snapshots, groups }: Tree): unknown {
  const places = placesOf(Object.entries(volumes).map(([name, { held }]) => [name, held]));
  return {
    volumes: Object.fromEntries(Object.entries(volumes).map(([name, { origin, held }]) => [
      name,
      {
        origin: origin === undefined ? "" : places.get(origin),
        held: held.map((id) => {
          const { of, state, holds, group } = snapshots[id]!;
          return { id: known.includes(id) ? id : "", of, state, holds, group };
        }),
      },
    ])),
    groups: Object.fromEntries(Object.entries(groups).map(([name, { members }]) => [name, members.map((id) => places.get(id))])),
  };
}

function placesOf(held: readonly (readonly [volume: string, ids: readonly string[]])[]): ReadonlyMap<string, string> {
  return new Map(held.flatMap(([volume, ids]) => ids.map((id, index) => [id, `${volume}#${index}`])));
}

/** The same picture, made of what is recorded. */
export async function readTree({ now: { stores } }: World): Promise<unknown> {
  const rows = new Map<TreeVolume, VolumeRecord>();
  const held = new Map<TreeVolume, readonly SnapshotRecord[]>();
  for (const name of treeVolumes) {
    const row = await stores.volumes.find(parseVolumeId(name));
    if (row === undefined) continue;
    assert.equal(row.state, "ready");
    rows.set(name, row);
    held.set(name, await stores.snapshots.ofDataset(row.hostId, row.dataset));
  }
  const places = placesOf([...held].map(([name, snapshots]) => [name, snapshots.map(({ id }) => id)]));
  const groups = await Promise.all(treeGroups.map((name) => stores.groups.find(parseGroupSnapshotId(name))));
  return {
    volumes: Object.fromEntries([...rows].map(([name, { origin }]) => [
      name,
      {
        origin: origin === "" ? "" : places.get(origin),
        held: (held.get(name) ?? []).map(({ id, volumeId, state, holds, groupId }) => ({ id: known.includes(id) ? id : "", of: volumeId, state, holds, group: groupId })),
      },
    ])),
    groups: Object.fromEntries(groups.flatMap((group) => (group === undefined ? [] : [[group.id, group.snapshotIds.map((id) => places.get(id))]]))),
  };
}

/** Rows say what the model says, the host has what the rows say and nothing besides, and every volume has its bytes. */
export async function expectTree(world: World, tree: Tree): Promise<void> {
  const { stores } = world.now;
  assert.deepEqual(await stores.operations.listOpen(), [], "no operation is open");
  assert.deepEqual(await readTree(world), treePicture(tree), "the records");
  const rows: VolumeRecord[] = [];
  for await (const row of stores.volumes.each("")) rows.push(row);
  const snapshots: SnapshotRecord[] = [];
  for await (const { id } of stores.snapshots.identities()) snapshots.push(await stores.snapshots.get(id));
  for (const { id, condition } of [...rows, ...snapshots]) assert.equal(condition, undefined, `the condition of ${id}`);
  assert.deepEqual(await onHost(world), asRecorded(rows, snapshots), "datasets, origins and holds on the host");
  const { orphans } = await new Orphans(world.requests).list(await stores.hosts.all(), signal);
  assert.deepEqual(orphans, [], "orphans");
  for (const name of treeVolumes) {
    const node = tree.volumes[name];
    if (node !== undefined) assert.equal(await readVolume(world, parseVolumeId(name)), node.content, `the bytes of ${name}`);
  }
}

/** `NAME ORIGIN HOLDS` of every zvol and snapshot. */
async function onHost({ sim }: World): Promise<string[]> {
  const { stdout } = await sim.executor("hst_give").run(["zfs", "list", "-Hp", "-t", "volume,snapshot", "-o", "name,origin,userrefs", "-r", "tank"], { signal });
  return stdout.split("\n").filter((line) => line !== "").map((line) => line.replaceAll("\t", " ").replaceAll(" -", "")).sort();
}

function asRecorded(volumes: readonly VolumeRecord[], snapshots: readonly SnapshotRecord[]): string[] {
  const origins = new Map<string, string>(snapshots.map((row) => [row.id, zfsNameOf(row)]));
  return [
    ...volumes.map(({ dataset, origin }) => (origin === "" ? dataset : `${dataset} ${origins.get(origin)}`)),
    ...snapshots.map((row) => `${zfsNameOf(row)} ${row.holds.length}`),
  ].sort();
}

const contentBytes = 12;

export async function readVolume(world: World, id: VolumeId): Promise<string> {
  const { dataset } = await world.now.stores.volumes.get(id);
  const path = `/dev/zvol/${dataset}`;
  const [found] = await world.sim.executor("hst_give").files([{ op: "read", path, maxBytes: contentBytes }], { signal });
  return (found?.text ?? "").replaceAll("\0", "");
}
