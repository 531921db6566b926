import { dropContent } from "../content.ts";
import type { Machine } from "../machine.ts";
import type { DatasetDoc } from "../model.ts";
import { done, parseOptions, ToolFailure, type Program } from "../program.ts";
import { UnmodelledError } from "../failure.ts";
import { clonesOf, descendants, getDataset, removeDataset, snapshotKey, snapshotsOf } from "./datasets.ts";
import { bytesNewerThan, generationOf, heldBySnapshots, newestGeneration, piecesOf, snapshotContent } from "./lineage.ts";
import { adjustSpace } from "./space.ts";

export const zfsDestroy: Program = (machine, args) => {
  const options = parseOptions("zfs destroy", args, { flags: ["-r", "-d"] });
  const [name, ...more] = options.rest;
  if (name === undefined || more.length > 0) throw new ToolFailure(2, "missing or too many dataset arguments");
  if (name.includes("@")) destroySnapshot(machine, name, options.flags.has("-d"));
  else if (options.flags.has("-d")) throw new UnmodelledError("zfs destroy -d of a dataset");
  else destroyDataset(machine, name, options.flags.has("-r"));
  return done();
};

function destroyDataset(machine: Machine, name: string, recursive: boolean): void {
  const dataset = getDataset(machine, name);
  const refuse = (why: string): ToolFailure => new ToolFailure(1, `cannot destroy '${name}': ${why}`);
  if (!name.includes("/")) {
    throw refuse(
      `operation does not apply to pools\nuse 'zfs destroy -r ${name}' to destroy all datasets in the pool\nuse 'zpool destroy ${name}' to destroy the pool itself`,
    );
  }
  const below = [...descendants(machine, name)];
  const snapshots = [name, ...below].flatMap((at) => snapshotsOf(machine, at).map((tag) => `${at}@${tag}`));
  const clones = snapshots.flatMap((snapshot) => clonesOf(machine, snapshot)).filter((clone) => !below.includes(clone));
  if (recursive && clones.length > 0) {
    throw refuse(`${dataset.type} has dependent clones\nuse '-R' to destroy the following datasets:\n${clones.join("\n")}`);
  }
  const children = [...below, ...snapshots];
  if (!recursive && children.length > 0) {
    throw refuse(`${dataset.type} has children\nuse '-r' to destroy the following datasets:\n${children.join("\n")}`);
  }
  if (snapshots.length > 0) {
    const held = snapshots.find((snapshot) => isHeld(machine, snapshot));
    if (held !== undefined) throw new ToolFailure(1, `cannot destroy snapshot ${held}: dataset is busy`);
  }
  if (isBusy(machine, dataset)) throw refuse("dataset is busy");
  // Deepest first; the first busy one ends the command, what was destroyed by then stays so.
  for (const at of [name, ...below].reverse()) {
    const found = getDataset(machine, at);
    if (isBusy(machine, found)) throw new ToolFailure(1, `cannot destroy '${at}': dataset is busy`);
    for (const tag of snapshotsOf(machine, at)) removeSnapshot(machine, `${at}@${tag}`);
    removeDataset(machine, at, getDataset(machine, at));
    if (found.origin !== undefined) reapSnapshot(machine, found.origin);
  }
}

/** A zvol whose device somebody holds open: a LIO backstore, a mount. */
function isBusy(machine: Machine, dataset: DatasetDoc): boolean {
  if (dataset.device === undefined) return false;
  return (machine.model.devices.get(machine.at(dataset.device))?.holders.length ?? 0) > 0;
}

function isHeld(machine: Machine, snapshot: string): boolean {
  return Object.keys(machine.model.snapshots.get(snapshotKey(machine, snapshot))?.holds ?? {}).length > 0;
}

function destroySnapshot(machine: Machine, name: string, defer: boolean): void {
  if (/[%,]/.test(name)) throw new UnmodelledError(`zfs destroy ${name}`);
  const [dataset = ""] = name.split("@", 1);
  getDataset(machine, dataset);
  if (!machine.model.snapshots.has(snapshotKey(machine, name))) {
    throw new ToolFailure(1, "could not find any snapshots to destroy; check snapshot names.");
  }
  const clones = clonesOf(machine, name);
  if (defer && (clones.length > 0 || isHeld(machine, name))) {
    const snapshot = machine.model.snapshots.edit(snapshotKey(machine, name));
    if (snapshot !== undefined) snapshot.deferred = true;
    return;
  }
  if (clones.length > 0) {
    const list = clones.join("\n");
    throw new ToolFailure(
      1,
      `cannot destroy '${name}': snapshot has dependent clones\nuse '-R' to destroy the following datasets:\n${list}`,
    );
  }
  if (isHeld(machine, name)) throw new ToolFailure(1, `cannot destroy snapshot ${name}: dataset is busy`);
  removeSnapshot(machine, name);
}

/** A snapshot whose destruction was put off goes with its last clone and its last hold. */
export function reapSnapshot(machine: Machine, name: string): void {
  const deferred = machine.model.snapshots.get(snapshotKey(machine, name))?.deferred === true;
  if (deferred && clonesOf(machine, name).length === 0 && !isHeld(machine, name)) removeSnapshot(machine, name);
}

/** What the snapshot alone held is free again. */
export function removeSnapshot(machine: Machine, name: string): void {
  const { model } = machine;
  const [dataset = "", tag = ""] = name.split("@");
  const newest = snapshotsOf(machine, dataset).at(-1) === tag;
  const content = snapshotContent(machine, name);
  if (content !== undefined) dropContent(model, content);
  model.snapshots.delete(snapshotKey(machine, name));
  const live = model.datasets.get(machine.at(dataset))?.content;
  const since = newestGeneration(machine, dataset);
  const last = snapshotsOf(machine, dataset).length === 0;
  const held = heldBySnapshots(machine, dataset);
  adjustSpace(model, machine.at(dataset), ({ space }) => {
    space.snapshots = held.toString();
    if (last) space.unique = space.referenced;
    else if (newest) space.unique = bytesNewerThan(piecesOf(model, live), since).toString();
  });
  // What the newest one shared with the volume alone is freed when it is overwritten from here on.
  if (newest && live !== undefined) rejuvenate(machine, live, since, generationOf(machine, live));
}

/** Marks everything that a volume wrote after the generation `since` as of its present one. */
function rejuvenate(machine: Machine, id: string, since: number, generation: number): void {
  const { blocks, files } = machine.model;
  for (const name of blocks.children(id)) {
    const block = blocks.edit(`${id}/${name}`);
    if (block !== undefined && block.generation > since) block.generation = generation;
  }
  const visit = (key: string): void => {
    const file = files.edit(key);
    if (file !== undefined && file.generation > since) file.generation = generation;
    for (const name of files.children(key)) visit(`${key}/${name}`);
  };
  visit(id);
}
