import { createLogger, errorChain, parseGroupSnapshotId, parseSnapshotId, parseVolumeId, type SnapshotId, type VolumeId } from "@zfsilo/lib";
import { Reconciler } from "../../src/reconcile/reconciler.ts";
import { requestCopy } from "../../src/volume/copy.ts";
import { requestCreate } from "../../src/volume/create.ts";
import { requestDelete } from "../../src/volume/delete.ts";
import { requestPublish, requestUnpublish } from "../../src/volume/export.ts";
import { requestCreateGroupSnapshot, requestDeleteGroupSnapshot } from "../../src/volume/group-snapshot.ts";
import { requestRollback } from "../../src/volume/rollback.ts";
import { requestCreateSnapshot, requestDeleteSnapshot, requestHold, requestRelease } from "../../src/volume/snapshot.ts";
import type { RequestDeps } from "../../src/volume/volume-requests.ts";
import { copyInput, createInput, groupInput, snapshotInput } from "../world/ladder.ts";
import { World } from "../world/world.ts";
import { expectTree, readTree, readVolume, treePicture } from "./tree-check.ts";
import { after, bare, resolve, treeGroups, treeVolumes, writtenBy, type SnapshotRef, type Tree, type TreeCall, type TreeVolume } from "./tree-model.ts";
import { refused, Walker, type MachineName, type Terrain, type Trouble } from "./walker.ts";

const silent = createLogger("silent");

export type TreeStep =
  | { readonly kind: "call"; readonly call: TreeCall; readonly trouble: Trouble }
  | { readonly kind: "together"; readonly calls: readonly [TreeCall, TreeCall] }
  | { readonly kind: "power-cut"; readonly host: MachineName };

/** Takes a walk, compares the world with the model after every step, and deletes what is there in the end. Returns how many calls were made. */
export async function walkTree(steps: readonly TreeStep[]): Promise<number> {
  await using world = await World.open();
  const walker = new Walker<TreeCall, Tree>(world, terrain, bare);
  for (const [index, step] of [...steps].entries()) {
    try {
      await take(walker, world, step);
      await walker.settle();
    } catch (error) {
      throw new Error(`step ${index + 1}, ${JSON.stringify(step)}: ${errorChain(error)}`, { cause: error });
    }
  }
  await expectRestored(world, walker.model);
  await deleteAll(walker);
  return walker.calls;
}

async function take(walker: Walker<TreeCall, Tree>, world: World, step: TreeStep): Promise<void> {
  switch (step.kind) {
    case "call":
      if (step.call.kind === "write") await write(world, step.call.volume, writtenBy(walker.model));
      return walker.call(step.call, step.call.kind === "write" ? { kind: "none" } : step.trouble);
    case "together":
      return walker.together(step.calls);
    case "power-cut":
      world.sim.powerCycle(step.host);
  }
}

/** As an initiator would: a volume is written to only while it is published. */
async function write(world: World, volume: TreeVolume, content: string): Promise<void> {
  const row = await world.now.stores.volumes.find(parseVolumeId(volume));
  if (row === undefined) return;
  const path = `/dev/zvol/${row.dataset}`;
  await world.sim.executor("hst_give").files([{ op: "write", path, content }], { signal: new AbortController().signal });
}

const terrain: Terrain<TreeCall, Tree> = {
  after,
  request,
  buildsUp: ({ kind }) => ["create", "copy", "take", "group"].includes(kind),
  read: readTree,
  picture: treePicture,
  expect: expectTree,
  async settle({ now: { operations, requests } }) {
    await operations.retryUnfinished();
    // What is looked at must be older than the look.
    await new Promise((resolve) => setTimeout(resolve, 2));
    await new Reconciler({ ...requests, log: silent }).cycle({ eager: true }, new AbortController().signal);
  },
};

/** A volume that is made of a snapshot has the bytes of then. */
async function expectRestored(world: World, tree: Tree): Promise<void> {
  const probe = parseVolumeId("vol_probe");
  for (const [id, { state, content }] of Object.entries(tree.snapshots)) {
    if (state !== "ready" || !id.startsWith("snap_")) continue;
    await requestCopy(world.requests, { ...copyInput({ kind: "snapshot", id: parseSnapshotId(id), copyMode: "clone" }), id: probe, sparse: true });
    const found = await readVolume(world, probe);
    if (found !== content) throw new Error(`${id} restored has "${found}", not "${content}"`);
    await requestDelete(world.requests, probe, false);
  }
}

/** By whatever way the model says is open, until nothing is left. */
async function deleteAll(walker: Walker<TreeCall, Tree>): Promise<void> {
  while (Object.keys(walker.model.volumes).length > 0) {
    const open = removals(walker.model).filter((call) => {
      const next = after(walker.model, call);
      return next !== refused && next !== walker.model;
    });
    const [first] = open;
    if (first === undefined) throw new Error(`nothing of ${JSON.stringify(walker.model)} can be deleted`);
    await walker.call(first, { kind: "none" });
  }
  await walker.settle();
}

function removals(tree: Tree): TreeCall[] {
  const all: SnapshotRef[] = [
    ...Object.keys(tree.snapshots).filter((id) => id.startsWith("snap_")) as SnapshotRef[],
    ...treeGroups.flatMap((group) => (tree.groups[group]?.members ?? []).map((_, index) => ({ group, index }))),
  ];
  const tags = (ref: SnapshotRef): readonly string[] => tree.snapshots[resolve(tree, ref) ?? ""]?.holds ?? [];
  return [
    ...all.flatMap((snapshot) => tags(snapshot).map((tag): TreeCall => ({ kind: "release", snapshot, tag: tag as "backup" }))),
    ...treeGroups.map((group): TreeCall => ({ kind: "ungroup", group })),
    ...treeVolumes.flatMap((volume) => (["promote_clone", "delete"] as const).map((policy): TreeCall => ({ kind: "delete", volume, policy }))),
    ...all.map((snapshot): TreeCall => ({ kind: "remove", snapshot, tombstone: false })),
  ];
}

async function request(r: RequestDeps, call: TreeCall): Promise<unknown> {
  switch (call.kind) {
    case "create":
      return requestCreate(r, createInput(volumeId(call.volume), "block"));
    case "write":
      await requestPublish(r, volumeId(call.volume));
      return requestUnpublish(r, volumeId(call.volume));
    case "copy": {
      const source =
        "volume" in call.from
          ? { kind: "volume" as const, id: volumeId(call.from.volume), copyMode: call.mode }
          : { kind: "snapshot" as const, id: await idOf(r, call.from.snapshot), copyMode: call.mode };
      return requestCopy(r, { ...copyInput(source), id: volumeId(call.volume), capacityBytes: 0n, sparse: true });
    }
    case "delete":
      return requestDelete(r, volumeId(call.volume), true, { snapshotPolicy: call.policy });
    case "rollback":
      return requestRollback(r, volumeId(call.volume), { snapshotId: await idOf(r, call.snapshot), destroyLater: call.destroyLater });
    case "take":
      return requestCreateSnapshot(r, { ...snapshotInput(parseSnapshotId(call.snapshot)), volumeId: volumeId(call.volume) });
    case "remove":
      return requestDeleteSnapshot(r, await idOf(r, call.snapshot), { allowMissing: true, tombstone: call.tombstone });
    case "hold":
      return requestHold(r, await idOf(r, call.snapshot), call.tag);
    case "release":
      return requestRelease(r, await idOf(r, call.snapshot), call.tag);
    case "group":
      return requestCreateGroupSnapshot(r, { ...groupInput(), id: parseGroupSnapshotId(call.group), volumeIds: call.volumes.map(volumeId) });
    case "ungroup":
      return requestDeleteGroupSnapshot(r, parseGroupSnapshotId(call.group), true);
  }
}

const volumeId = (volume: TreeVolume): VolumeId => parseVolumeId(volume);

async function idOf({ groups }: RequestDeps, ref: SnapshotRef): Promise<SnapshotId> {
  if (typeof ref === "string") return parseSnapshotId(ref);
  const group = await groups.find(parseGroupSnapshotId(ref.group));
  return group?.snapshotIds[ref.index] ?? parseSnapshotId("snap_none");
}
