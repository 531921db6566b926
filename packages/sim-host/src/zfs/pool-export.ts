import { Machine } from "../machine.ts";
import type { Table } from "../store.ts";
import { ToolFailure } from "../program.ts";
import { addZvolDevice, cloneKey, clonesOf, descendants, findDataset, snapshotKey, snapshotsOf } from "./datasets.ts";

/** Where a pool is that no kernel has: on its disks, as that machine's. Not a machine anybody can reach. */
export function shelfOf(machine: Machine): Machine {
  return new Machine(`${machine.name}#exported`, machine.model, machine.now);
}

/** Lets go of a pool: its zvols have no devices any more. Refused while one is open, as by LIO or a mount. */
export function exportPool(machine: Machine, pool: string): void {
  const { model } = machine;
  const devices = [...descendants(machine, pool)].flatMap((name) => findDataset(machine, name)?.device ?? []);
  if (devices.some((device) => (model.devices.get(machine.at(device))?.holders.length ?? 0) > 0)) {
    throw new ToolFailure(1, `cannot export '${pool}': pool is busy`);
  }
  for (const device of devices) model.devices.delete(machine.at(device));
  movePool(machine, shelfOf(machine), pool);
}

/** Takes the pool back; its zvols get new device numbers. */
export function importPool(machine: Machine, pool: string): void {
  const { model } = machine;
  movePool(shelfOf(machine), machine, pool);
  for (const name of descendants(machine, pool)) {
    if (findDataset(machine, name)?.type !== "volume") continue;
    const device = addZvolDevice(machine, name);
    Object.assign(model.datasets.edit(machine.at(name)) ?? {}, { device, link: "present" });
  }
}

function movePool(from: Machine, to: Machine, pool: string): void {
  const { pools, datasets, snapshots, clones } = from.model;
  for (const name of [...descendants(from, pool)].reverse().concat(pool)) {
    for (const snapshot of snapshotsOf(from, name).map((tag) => `${name}@${tag}`)) {
      for (const clone of clonesOf(from, snapshot)) move(clones, cloneKey(from, snapshot, clone), cloneKey(to, snapshot, clone));
      move(snapshots, snapshotKey(from, snapshot), snapshotKey(to, snapshot));
    }
    move(datasets, from.at(name), to.at(name));
  }
  move(pools, from.at(pool), to.at(pool));
}

function move<T extends object>(table: Table<T>, from: string, to: string): void {
  const document = table.get(from);
  if (document === undefined) return;
  table.put(to, structuredClone(document));
  table.delete(from);
}
