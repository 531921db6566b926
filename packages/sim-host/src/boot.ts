import { createHash } from "node:crypto";
import { newFile, putDirectory, putFile } from "./files/file-tree.ts";
import { forgetMounts } from "./files/mounts.ts";
import { dropSessions } from "./iscsi/nexus.ts";
import { forgetSession, sessionIds } from "./iscsi/session.ts";
import type { Machine } from "./machine.ts";
import type { KernelDoc } from "./model.ts";
import { addZvolDevice, descendants, findDataset } from "./zfs/datasets.ts";

/** What a Debian 12 machine has before anybody touched it. */
const directories = ["/mnt", "/srv", "/media", "/tmp", "/run", "/root", "/home", "/var/lib/kubelet", "/etc/iscsi/nodes", "/etc/iscsi/ifaces"];

function freshKernel(): KernelDoc {
  return {
    modules: ["ext4", "configfs", "zfs"],
    nextZvol: 0,
    nextSession: 1,
    nextMount: 100,
    nextDisk: 0,
    freeDisks: [],
  };
}

/** Installs the machine's own disk and starts its kernel. */
export function install(machine: Machine): void {
  const { model } = machine;
  model.contents.put(machine.rootContent, { generation: 1, base: 0 });
  model.files.put(machine.rootContent, newFile("directory", 0o755));
  for (const path of directories) putDirectory(machine, path);
  putFile(machine, "/etc/hostname", `${machine.name}\n`, 0o644);
  putFile(machine, "/etc/machine-id", `${createHash("sha256").update(machine.name).digest("hex").slice(0, 32)}\n`, 0o444);
  model.kernels.put(machine.name, freshKernel());
}

/** What the open-iscsi package adds: a name, and iscsid to use it. */
export function installInitiator(machine: Machine, initiatorName: string): void {
  putFile(machine, "/etc/iscsi/initiatorname.iscsi", `InitiatorName=${initiatorName}\n`, 0o600);
}

/**
 * Cuts the power and starts again. Disks keep datasets and files; the kernel forgets targets, sessions, mounts, devices and
 * modules, and /run is empty. Pools are imported again, with new device numbers. Filesystems that were mounted stay unclean.
 */
export function powerCycle(machine: Machine): void {
  const { model, name } = machine;
  for (const iqn of model.targets.children(name)) dropSessions(machine, iqn);
  for (const sid of sessionIds(machine)) forgetSession(machine, sid);
  for (const hba of model.hbas.children(name)) model.backstores.deleteTree(machine.at(hba));
  for (const kind of [model.targets, model.hbas, model.listeners, model.devices, model.freezes]) kind.deleteTree(name);
  forgetMounts(machine);
  model.files.deleteTree(`${machine.rootContent}/run`);
  putDirectory(machine, "/run");
  model.kernels.put(name, freshKernel());
  for (const pool of model.pools.children(name)) {
    for (const dataset of descendants(machine, pool)) {
      if (findDataset(machine, dataset)?.type !== "volume") continue;
      const edited = model.datasets.edit(machine.at(dataset));
      if (edited === undefined) continue;
      // Nobody has loaded its key yet.
      if (edited.encryption !== undefined) {
        delete edited.device;
        delete edited.link;
        continue;
      }
      edited.device = addZvolDevice(machine, dataset);
      edited.link = "present";
    }
  }
}
