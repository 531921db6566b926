import { contentOf } from "../content.ts";
import type { Machine } from "../machine.ts";
import { done, parseOptions, ToolFailure, type Program } from "../program.ts";
import { cloneKey, clonesOf, findDataset, getDataset, snapshotKey, snapshotsOf } from "./datasets.ts";
import { bytesNewerThan, generationOf, heldBySnapshots, piecesOf, snapshotContent } from "./lineage.ts";
import { adjustSpace } from "./space.ts";

/** Turns a clone and its origin round: the snapshots up to the origin become the clone's, and what they hold with them. */
export const zfsPromote: Program = (machine, args) => {
  const [name, ...more] = parseOptions("zfs promote", args, {}).rest;
  if (name === undefined || more.length > 0) throw new ToolFailure(2, "missing clone filesystem argument");
  const clone = getDataset(machine, name);
  if (clone.origin === undefined) throw new ToolFailure(1, `cannot promote '${name}': not a cloned filesystem`);
  const [source = "", tag = ""] = clone.origin.split("@");
  const all = snapshotsOf(machine, source);
  const moved = all.slice(0, all.indexOf(tag) + 1);
  const clash = moved.find((snapshot) => machine.model.snapshots.has(snapshotKey(machine, `${name}@${snapshot}`)));
  if (clash !== undefined) {
    throw new ToolFailure(1, `cannot promote '${name}': conflicting snapshot '${clash}' from parent '${clone.origin}'`);
  }
  for (const snapshot of moved) moveSnapshot(machine, `${source}@${snapshot}`, `${name}@${snapshot}`);
  turnRound(machine, name, source, tag);
  countAnew(machine, name, source, `${name}@${tag}`);
  // It has become the encryption root, and its key counts as not loaded until it is given again; devices that are there stay.
  const { encryption } = clone;
  const kernel = machine.editKernel();
  if (encryption !== undefined) kernel.keys = (kernel.keys ?? []).filter((id) => id !== encryption.keyId);
  return done();
};

function moveSnapshot(machine: Machine, from: string, to: string): void {
  const { model } = machine;
  const snapshot = model.snapshots.get(snapshotKey(machine, from));
  if (snapshot === undefined) return;
  model.snapshots.delete(snapshotKey(machine, from));
  model.snapshots.put(snapshotKey(machine, to), structuredClone(snapshot));
  for (const clone of clonesOf(machine, from)) {
    model.clones.delete(cloneKey(machine, from, clone));
    model.clones.put(cloneKey(machine, to, clone), { dataset: clone });
    const edited = model.datasets.edit(machine.at(clone));
    if (edited !== undefined) edited.origin = to;
  }
}

function turnRound(machine: Machine, name: string, source: string, tag: string): void {
  const { model } = machine;
  const before = getDataset(machine, source).origin;
  const clone = model.datasets.edit(machine.at(name));
  const origin = model.datasets.edit(machine.at(source));
  if (clone === undefined || origin === undefined) return;
  model.clones.delete(cloneKey(machine, `${name}@${tag}`, name));
  delete clone.origin;
  if (before !== undefined) {
    clone.origin = before;
    model.clones.delete(cloneKey(machine, before, source));
    model.clones.put(cloneKey(machine, before, name), { dataset: name });
  }
  origin.origin = `${name}@${tag}`;
  model.clones.put(cloneKey(machine, `${name}@${tag}`, source), { dataset: source });
}

/** Each piece is charged once, to the volume in whose line of snapshots it began. The origin shrinks first. */
function countAnew(machine: Machine, name: string, source: string, shared: string): void {
  const { model } = machine;
  const clone = findDataset(machine, name)?.content;
  const origin = findDataset(machine, source)?.content;
  if (clone === undefined || origin === undefined) return;
  const since = generationOf(machine, snapshotContent(machine, shared));
  const base = contentOf(model, origin).base;
  for (const [content, line] of [[clone, base], [origin, since]] as const) {
    const edited = model.contents.edit(content);
    if (edited !== undefined) edited.base = line;
  }
  for (const [dataset, content, line] of [[source, origin, since], [name, clone, base]] as const) {
    const held = heldBySnapshots(machine, dataset);
    const own = bytesNewerThan(piecesOf(model, content), line);
    adjustSpace(model, machine.at(dataset), ({ space, origin: from }) => {
      const all = BigInt(space.referenced) + BigInt(space.inherited);
      // What belongs to no piece is a volume's metadata: it lies with the first of the line.
      space.referenced = from === undefined ? all.toString() : own.toString();
      space.inherited = (all - BigInt(space.referenced)).toString();
      space.snapshots = held.toString();
      if (snapshotsOf(machine, dataset).length === 0) space.unique = space.referenced;
    });
  }
}
