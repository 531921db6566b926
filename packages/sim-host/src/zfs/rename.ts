import { UnmodelledError } from "../failure.ts";
import { done, parseOptions, ToolFailure, type Program } from "../program.ts";
import { cloneKey, clonesOf, findDataset, getDataset, parentOf, snapshotKey, snapshotsOf } from "./datasets.ts";
import { nameProblem } from "./name.ts";
import { countDataset } from "./space.ts";

/** Renames a volume, exported or not: its device stays open under the old udev path (hosts that export it do not notice). */
export const zfsRename: Program = (machine, args) => {
  const [from, to] = parseOptions("zfs rename", args, {}).rest;
  if (from === undefined || to === undefined) throw new ToolFailure(2, "missing source or target dataset argument");
  const dataset = getDataset(machine, from);
  if (dataset.type !== "volume" || from.includes("@")) throw new UnmodelledError("zfs rename of anything but a volume");
  const subject = `cannot rename '${from}'`;
  const problem = nameProblem(to);
  if (problem !== undefined) throw new ToolFailure(1, `cannot create '${to}': ${problem}`);
  if (findDataset(machine, to) !== undefined) throw new ToolFailure(1, `${subject}: dataset already exists`);
  const parent = parentOf(to);
  if (parent === undefined || findDataset(machine, parent) === undefined) {
    throw new ToolFailure(1, `${subject}: parent does not exist`);
  }
  if (parent.split("/", 1)[0] !== from.split("/", 1)[0]) throw new ToolFailure(1, `${subject}: datasets must be within same pool`);
  const { model } = machine;
  countDataset(model, machine.at(from), dataset, -1n);
  countDataset(model, machine.at(to), dataset, 1n);
  model.datasets.delete(machine.at(from));
  model.datasets.put(machine.at(to), dataset);
  if (dataset.origin !== undefined) {
    model.clones.delete(cloneKey(machine, dataset.origin, from));
    model.clones.put(cloneKey(machine, dataset.origin, to), { dataset: to });
  }
  for (const tag of snapshotsOf(machine, from)) {
    const snapshot = model.snapshots.get(snapshotKey(machine, `${from}@${tag}`));
    if (snapshot === undefined) continue;
    for (const clone of clonesOf(machine, `${from}@${tag}`)) {
      model.clones.delete(cloneKey(machine, `${from}@${tag}`, clone));
      model.clones.put(cloneKey(machine, `${to}@${tag}`, clone), { dataset: clone });
      const edited = model.datasets.edit(machine.at(clone));
      if (edited !== undefined) edited.origin = `${to}@${tag}`;
    }
    model.snapshots.delete(snapshotKey(machine, `${from}@${tag}`));
    model.snapshots.put(snapshotKey(machine, `${to}@${tag}`), snapshot);
  }
  const device = dataset.device === undefined ? undefined : model.devices.edit(machine.at(dataset.device));
  if (device?.kind === "zvol") device.dataset = to;
  const content = dataset.content === undefined ? undefined : model.contents.edit(dataset.content);
  if (content !== undefined) content.owner = machine.at(to);
  return done();
};
