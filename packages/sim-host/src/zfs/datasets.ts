import { dropContent } from "../content.ts";
import type { DatasetDoc, DeviceLink, SnapshotDoc } from "../model.ts";
import type { Machine } from "../machine.ts";
import { ToolFailure } from "../program.ts";
import { ruleOf } from "./properties.ts";
import { countDataset } from "./space.ts";

export const doesNotExist = (name: string): ToolFailure =>
  new ToolFailure(1, `cannot open '${name}': dataset does not exist`);

export function findDataset(machine: Machine, name: string): DatasetDoc | undefined {
  return machine.model.datasets.get(machine.at(name));
}

export function getDataset(machine: Machine, name: string): DatasetDoc {
  const found = findDataset(machine, name);
  if (found === undefined) throw doesNotExist(name);
  return found;
}

/** Snapshots are kept below their dataset: `machine/tank/z1/SNAP` in the snapshot table. */
export function snapshotKey(machine: Machine, name: string): string {
  return machine.at(name.replace("@", "/"));
}

export function getSnapshot(machine: Machine, name: string): SnapshotDoc {
  const found = machine.model.snapshots.get(snapshotKey(machine, name));
  if (found === undefined) throw doesNotExist(name);
  return found;
}

/** Names of a dataset's snapshots, oldest first. */
export function snapshotsOf(machine: Machine, name: string): readonly string[] {
  const { snapshots } = machine.model;
  const txg = (snapshot: string): number => snapshots.get(machine.at(`${name}/${snapshot}`))?.createTxg ?? 0;
  return [...snapshots.children(machine.at(name))].sort((a, b) => txg(a) - txg(b));
}

export function parentOf(name: string): string | undefined {
  const cut = name.lastIndexOf("/");
  return cut === -1 ? undefined : name.slice(0, cut);
}

/** Datasets below `name`, parents first, `depth` levels deep. */
export function* descendants(machine: Machine, name: string, depth = Number.POSITIVE_INFINITY): Generator<string> {
  if (depth <= 0) return;
  for (const child of machine.model.datasets.children(machine.at(name))) {
    yield `${name}/${child}`;
    yield* descendants(machine, `${name}/${child}`, depth - 1);
  }
}

/** A property as set here or inherited, and from where (`local`, `default`, `inherited from X`). */
export function effective(
  machine: Machine,
  name: string,
  property: string,
  dataset = findDataset(machine, name),
): { value: string; source: string } | undefined {
  const own = dataset?.props[property];
  if (own !== undefined) return { value: own, source: "local" };
  const rule = ruleOf(property);
  const inherits = rule === undefined || rule.inherits === true;
  for (let at = inherits ? parentOf(name) : undefined; at !== undefined; at = parentOf(at)) {
    const value = findDataset(machine, at)?.props[property];
    if (value !== undefined) return { value, source: `inherited from ${at}` };
  }
  return rule?.initial === undefined ? undefined : { value: rule.initial, source: "default" };
}

/** The dataset whose key an encrypted one has: the end of its line of origins. */
export function rootNameOf(machine: Machine, name: string): string {
  const origin = findDataset(machine, name)?.origin;
  return origin === undefined ? name : rootNameOf(machine, origin.split("@", 1)[0] ?? name);
}

export function keyIsLoaded(machine: Machine, encryption: DatasetDoc["encryption"]): boolean {
  return encryption === undefined || machine.model.kernels.get(machine.name)?.keys?.includes(encryption.keyId) === true;
}

/** Makes a dataset's record, a volume's device and content, and charges its space: ENOSPC leaves nothing behind. */
export function addDataset(machine: Machine, name: string, dataset: DatasetDoc): void {
  countDataset(machine.model, machine.at(name), dataset, 1n);
  if (dataset.type === "volume") {
    dataset.content ??= machine.newContent({ owner: machine.at(name), generation: 1, base: 0 });
    // Without its key there is no device (seen on 2.1.11).
    if (keyIsLoaded(machine, dataset.encryption)) {
      dataset.device = addZvolDevice(machine, name);
      dataset.link = nextLink(machine);
    }
  }
  machine.model.datasets.put(machine.at(name), dataset);
}

/** zvols take 16 minor numbers each: zd0, zd16, zd32. */
export function addZvolDevice(machine: Machine, name: string): string {
  const kernel = machine.editKernel();
  const minor = kernel.nextZvol * 16;
  kernel.nextZvol += 1;
  const device = `zd${minor}`;
  machine.model.devices.put(machine.at(device), { kind: "zvol", dataset: name, number: `230:${minor}`, holders: [] });
  return device;
}

function nextLink(machine: Machine): DeviceLink {
  const { missesBeforeLink, linksToLose } = machine.facts.udev;
  if (linksToLose > 0) {
    const facts = machine.model.machines.edit(machine.name);
    if (facts !== undefined) facts.udev.linksToLose -= 1;
    return "lost";
  }
  return missesBeforeLink === 0 ? "present" : { missesLeft: missesBeforeLink };
}

/** Removes a dataset and everything that belongs to it alone. Snapshots and children must be gone. */
export function removeDataset(machine: Machine, name: string, dataset: DatasetDoc): void {
  const { model } = machine;
  countDataset(model, machine.at(name), dataset, -1n);
  if (dataset.device !== undefined) model.devices.delete(machine.at(dataset.device));
  if (dataset.content !== undefined) dropContent(model, dataset.content);
  if (dataset.origin !== undefined) model.clones.delete(cloneKey(machine, dataset.origin, name));
  model.datasets.delete(machine.at(name));
}

export function cloneKey(machine: Machine, snapshot: string, clone: string): string {
  return `${snapshotKey(machine, snapshot)}/${encodeURIComponent(clone)}`;
}

export function clonesOf(machine: Machine, snapshot: string): readonly string[] {
  return machine.model.clones.children(snapshotKey(machine, snapshot)).map(decodeURIComponent);
}
