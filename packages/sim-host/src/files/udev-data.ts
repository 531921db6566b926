import { findDevice } from "../device.ts";
import type { Machine } from "../machine.ts";
import { findDataset } from "../zfs/datasets.ts";
import { file, listing, type VirtualNode } from "./virtual-tree.ts";

/** /run/udev/data: what udev knows of each block device, in files called `b230:16`; `S:` lines are the links it made. */
export function udevData(machine: Machine): VirtualNode {
  const byNumber = (): ReadonlyMap<string, string> =>
    new Map(
      machine.model.devices.children(machine.name).map((name) => [`b${findDevice(machine, name)?.number ?? ""}`, name] as const),
    );
  return listing(
    () => [...byNumber().keys()],
    (entry) => {
      const name = byNumber().get(entry);
      return name === undefined ? undefined : file(() => linkLines(machine, name));
    },
  );
}

function linkLines(machine: Machine, name: string): string {
  const device = findDevice(machine, name);
  if (device?.kind !== "zvol") return "I:1\n";
  const linked = findDataset(machine, device.dataset)?.link === "present";
  return linked ? `S:zvol/${device.dataset}\nI:1\n` : "I:1\n";
}
