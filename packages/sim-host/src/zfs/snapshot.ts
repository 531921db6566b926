import { contentOf, copyContent, dropContent } from "../content.ts";
import { isFrozenAnywhere } from "../files/freeze.ts";
import { KernelError, UnmodelledError } from "../failure.ts";
import type { Machine } from "../machine.ts";
import { done, parseOptions, ToolFailure, type Program } from "../program.ts";
import { newDataset } from "./create.ts";
import {
  addDataset,
  cloneKey,
  findDataset,
  getDataset,
  getSnapshot,
  parentOf,
  snapshotKey,
  snapshotsOf,
} from "./datasets.ts";
import { removeSnapshot } from "./destroy.ts";
import { heldBySnapshots } from "./lineage.ts";
import { nameProblem } from "./name.ts";
import { isUserProperty } from "./properties.ts";
import { parseSettings } from "./settings.ts";
import { adjustSpace } from "./space.ts";

/** One or more snapshots, all or none. */
export const zfsSnapshot: Program = (machine, args) => {
  const options = parseOptions("zfs snapshot", args, { values: ["-o"] });
  if (options.rest.length === 0) throw new ToolFailure(2, "missing snapshot argument");
  const props: Record<string, string> = {};
  for (const word of options.values.get("-o") ?? []) {
    const property = word.slice(0, Math.max(word.indexOf("="), 0));
    if (!isUserProperty(property)) throw new ToolFailure(1, `cannot create snapshots : property '${property}' is not supported`);
    props[property] = word.slice(property.length + 1);
  }
  for (const name of options.rest) {
    const problem = nameProblem(name, true);
    if (problem !== undefined) throw new ToolFailure(1, `cannot create snapshot '${name}': ${problem}`);
    const [dataset = ""] = name.split("@", 1);
    if (findDataset(machine, dataset) === undefined) {
      throw new ToolFailure(2, `cannot open '${dataset}': dataset does not exist\nusage:\n\tsnapshot [-r] [-o property=value] ...`);
    }
    if (machine.model.snapshots.has(snapshotKey(machine, name))) {
      throw new ToolFailure(1, `cannot create snapshot '${name}': dataset already exists`);
    }
  }
  const txg = machine.model.next("txg");
  const taken: string[] = [];
  for (const name of options.rest) {
    try {
      takeSnapshot(machine, name, props, txg);
      taken.push(name);
    } catch (error) {
      if (!(error instanceof KernelError) || error.errno !== "ENOSPC") throw error;
      for (const made of taken) removeSnapshot(machine, made);
      throw new ToolFailure(1, `cannot create snapshot '${name}': out of space`);
    }
  }
  return done();
};

/** From now on the refreservation has to cover a full rewrite beside what the snapshot holds: that may not fit. */
function takeSnapshot(machine: Machine, name: string, props: Readonly<Record<string, string>>, txg: number): void {
  const { model } = machine;
  const [dataset = ""] = name.split("@", 1);
  const live = getDataset(machine, dataset);
  adjustSpace(model, machine.at(dataset), ({ space }) => {
    space.unique = "0";
  });
  const { space } = live;
  const volsize = live.props["volsize"];
  const snapshot = {
    props: { ...props },
    guid: machine.newGuid(),
    createTxg: txg,
    created: machine.seconds(),
    referenced: (BigInt(space.referenced) + BigInt(space.inherited)).toString(),
    holds: {},
    ...(volsize === undefined ? {} : { volsize }),
  };
  if (live.content === undefined) {
    model.snapshots.put(snapshotKey(machine, name), snapshot);
    return;
  }
  const content = `c${model.next("content")}`;
  copyContent(model, live.content, content, contentOf(model, live.content));
  model.snapshots.put(snapshotKey(machine, name), { ...snapshot, content });
  const copied = isFrozenAnywhere(machine, live.content) ? model.contents.edit(content)?.fs : undefined;
  // freeze_fs writes the superblock as a clean unmount does.
  if (copied !== undefined) copied.writers = 0;
  const edited = model.contents.edit(live.content);
  if (edited !== undefined) edited.generation += 1;
}

export const zfsClone: Program = (machine, args) => {
  const options = parseOptions("zfs clone", args, { values: ["-o"] });
  const [origin, name, ...more] = options.rest;
  if (origin === undefined || name === undefined || more.length > 0) throw new ToolFailure(2, "missing source or target dataset");
  const snapshot = getSnapshot(machine, origin);
  const subject = `cannot create '${name}'`;
  const problem = nameProblem(name);
  if (problem !== undefined) throw new ToolFailure(1, `${subject}: ${problem}`);
  if (findDataset(machine, name) !== undefined) throw new ToolFailure(1, `${subject}: dataset already exists`);
  const parent = parentOf(name);
  if (parent === undefined || findDataset(machine, parent) === undefined) {
    throw new ToolFailure(1, `${subject}: parent does not exist`);
  }
  if (findDataset(machine, parent)?.type === "volume") throw new ToolFailure(1, `${subject}: parent is not a filesystem`);
  const source = getDataset(machine, origin.split("@", 1)[0] ?? "");
  const props = parseSettings(options.values.get("-o") ?? [], source.type, subject, false);
  const blockSize = source.props["volblocksize"];
  const clone = newDataset(machine, source.type, {
    ...(snapshot.volsize === undefined ? {} : { volsize: snapshot.volsize }),
    ...(blockSize === undefined ? {} : { volblocksize: blockSize }),
    ...props,
  });
  if (clone.props["refreservation"] === "auto") throw new UnmodelledError("zfs clone -o refreservation=auto");
  // A clone is sparse, and owns nothing until it is written to.
  clone.space = { referenced: "0", inherited: snapshot.referenced, unique: "0", snapshots: "0", children: "0" };
  clone.origin = origin;
  if (source.encryption !== undefined) clone.encryption = { ...source.encryption };
  try {
    addDataset(machine, name, clone);
  } catch (error) {
    if (error instanceof KernelError && error.errno === "ENOSPC") throw new ToolFailure(1, `${subject}: out of space`);
    throw error;
  }
  if (snapshot.content !== undefined && clone.content !== undefined) {
    const { generation, ...content } = contentOf(machine.model, snapshot.content);
    const mine = { ...content, owner: machine.at(name), generation: generation + 1, base: generation };
    copyContent(machine.model, snapshot.content, clone.content, mine);
  }
  machine.model.clones.put(cloneKey(machine, origin, name), { dataset: name });
  return done();
};

export const zfsRollback: Program = (machine, args) => {
  const options = parseOptions("zfs rollback", args, { flags: ["-r"] });
  const [name] = options.rest;
  if (name === undefined) throw new ToolFailure(2, "missing dataset argument");
  const snapshot = getSnapshot(machine, name);
  const [dataset = "", tag = ""] = name.split("@");
  const all = snapshotsOf(machine, dataset);
  const newer = all.slice(all.indexOf(tag) + 1);
  if (newer.length > 0 && !options.flags.has("-r")) {
    const list = newer.map((later) => `${dataset}@${later}`).reverse().join("\n");
    throw new ToolFailure(
      1,
      `cannot rollback to '${name}': more recent snapshots or bookmarks exist\nuse '-r' to force deletion of the following snapshots and bookmarks:\n${list}`,
    );
  }
  for (const later of newer) removeSnapshot(machine, `${dataset}@${later}`);
  const { model } = machine;
  const live = getDataset(machine, dataset);
  if (live.content !== undefined && snapshot.content !== undefined) {
    const { generation, base } = contentOf(model, live.content);
    const { fs } = contentOf(model, snapshot.content);
    dropContent(model, live.content);
    const restored = { owner: machine.at(dataset), generation: generation + 1, base, ...(fs === undefined ? {} : { fs }) };
    copyContent(model, snapshot.content, live.content, restored);
  }
  const held = heldBySnapshots(machine, dataset);
  adjustSpace(model, machine.at(dataset), (changed) => {
    changed.space.referenced = (BigInt(snapshot.referenced) - BigInt(changed.space.inherited)).toString();
    changed.space.unique = "0";
    changed.space.snapshots = held.toString();
    if (snapshot.volsize !== undefined) changed.props["volsize"] = snapshot.volsize;
  });
  return done();
};
