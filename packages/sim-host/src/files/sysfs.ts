import { findDevice, openDevice, removeDisk } from "../device.ts";
import { KernelError, UnmodelledError } from "../failure.ts";
import { liveSession } from "../iscsi/nexus.ts";
import { rescanDisk, sessionIds } from "../iscsi/session.ts";
import type { Machine } from "../machine.ts";
import type { DiskDevice, SessionDoc } from "../model.ts";
import { directory, file, listing, type VirtualNode } from "./virtual-tree.ts";

/** /sys: block devices, iSCSI sessions and connections, modules. The links of real sysfs are shown as directories. */
export function sysfs(machine: Machine): VirtualNode {
  const blocks = listing(
    () => machine.model.devices.children(machine.name),
    (name) => blockDevice(machine, name),
  );
  const loaded = (): readonly string[] => machine.model.kernels.get(machine.name)?.modules ?? [];
  const top: Readonly<Record<string, VirtualNode>> = {
    block: blocks,
    class: unmodelledBeyond("/sys/class", {
      block: blocks,
      ...(machine.hasModule("scsi_transport_iscsi")
        ? { iscsi_session: sessions(machine), iscsi_connection: connections(machine) }
        : { iscsi_session: undefined, iscsi_connection: undefined }),
    }),
    module: listing(loaded, (name) => (loaded().includes(name) ? directory({}) : undefined)),
    kernel: directory({ config: directory({}) }),
  };
  return unmodelledBeyond("/sys", top);
}

function unmodelledBeyond(at: string, entries: Readonly<Record<string, VirtualNode | undefined>>): VirtualNode {
  return listing(
    () => Object.keys(entries).filter((name) => entries[name] !== undefined),
    (name) => {
      if (!Object.hasOwn(entries, name)) throw new UnmodelledError(`${at}/${name}`);
      return entries[name];
    },
  );
}

const sectorBytes = 512n;

export function blockDevice(machine: Machine, name: string): VirtualNode | undefined {
  const device = findDevice(machine, name);
  if (device === undefined || (device.kind === "disk" && device.gone)) return undefined;
  const size = (): bigint => (device.kind === "disk" ? BigInt(device.size) : openDevice(machine, name).size);
  return directory({
    size: file(() => `${size() / sectorBytes}\n`),
    dev: file(`${device.number}\n`),
    ro: file(() => `${Number(device.kind === "disk" && device.readOnly === true)}\n`),
    removable: file("0\n"),
    holders: stackedOn(device.holders),
    slaves: directory({}),
    queue: directory({ logical_block_size: file("512\n"), rotational: file("0\n"), discard_granularity: file("8192\n") }),
    device: device.kind === "disk" ? scsiDevice(machine, name, device) : undefined,
  });
}

function scsiDevice(machine: Machine, name: string, disk: DiskDevice): VirtualNode {
  const state = (): string =>
    liveSession(machine, disk.session)?.state === "LOGGED_IN" ? "running\n" : "transport-offline\n";
  return directory({
    rescan: file(
      () => {
        throw new KernelError("EACCES", "rescan");
      },
      () => {
        rescanDisk(machine, name);
      },
    ),
    delete: file(
      () => {
        throw new KernelError("EACCES", "delete");
      },
      () => {
        removeDisk(machine, name);
      },
    ),
    state: file(state),
    vendor: file("LIO-ORG \n"),
    model: file("IBLOCK          \n"),
    rev: file("4.0 \n"),
    type: file("0\n"),
    timeout: file("30\n"),
    // The second byte, 0x80, is no UTF-8. The page length counts the end mark (spc_emulate_evpd_80).
    vpd_pg80: file(`\0\ufffd\0${String.fromCharCode(disk.serial.length + 1)}${disk.serial}\0`),
  });
}

/** What device-mapper made of a device, by the holders that say `dm:NAME`. */
function stackedOn(holders: readonly string[]): VirtualNode {
  const names = holders.filter((holder) => holder.startsWith("dm:")).map((holder) => holder.slice("dm:".length));
  const entries = names.map((name, index): [string, VirtualNode] => [
    `dm-${index}`,
    directory({ dev: file(`253:${index}\n`), dm: directory({ name: file(`${name}\n`), uuid: file(`LVM-${"0".repeat(64)}\n`) }) }),
  ]);
  return directory(Object.fromEntries(entries));
}

/** Host numbers of sessions begin above those of the machine's own controllers. */
const hostNumber = (sid: number): number => sid + 1;

function sessions(machine: Machine): VirtualNode {
  return listing(
    () => sessionIds(machine).map((sid) => `session${sid}`),
    (name) => {
      const sid = Number(/^session(\d+)$/.exec(name)?.[1] ?? "0");
      const session = liveSession(machine, sid);
      return session === undefined ? undefined : sessionDirectory(machine, sid, session);
    },
  );
}

function sessionDirectory(machine: Machine, sid: number, session: SessionDoc): VirtualNode {
  const host = hostNumber(sid);
  const disks = Object.entries(session.disks).map(([lun, disk]): [string, VirtualNode | undefined] => {
    const device = findDevice(machine, disk);
    const scsi = device?.kind === "disk" ? scsiDevice(machine, disk, device) : undefined;
    const block = directory({ block: directory({ [disk]: blockDevice(machine, disk) }) });
    return [`${host}:0:0:${lun}`, scsi === undefined ? undefined : both(scsi, block)];
  });
  const target = disks.length === 0 ? {} : { [`target${host}:0:0`]: directory(Object.fromEntries(disks)) };
  return directory({
    targetname: file(`${session.target}\n`),
    initiatorname: file(`${session.initiator}\n`),
    ifacename: file(`${session.iface}\n`),
    tpgt: file(`${session.tpgt.replace("tpgt_", "")}\n`),
    state: file(`${session.state}\n`),
    recovery_tmo: file("120\n"),
    device: directory(target),
  });
}

function both(a: VirtualNode, b: VirtualNode): VirtualNode {
  if (a.kind !== "directory" || b.kind !== "directory") return a;
  return listing(
    () => [...a.list(), ...b.list()],
    (name) => a.child(name) ?? b.child(name),
  );
}

function connections(machine: Machine): VirtualNode {
  return listing(
    () => sessionIds(machine).map((sid) => `connection${sid}:0`),
    (name) => {
      const sid = Number(/^connection(\d+):0$/.exec(name)?.[1] ?? "0");
      const session = liveSession(machine, sid);
      if (session === undefined) return undefined;
      return directory({
        address: file(`${session.address}\n`),
        port: file(`${session.port}\n`),
        persistent_address: file(`${session.address}\n`),
        persistent_port: file(`${session.port}\n`),
        state: file(session.state === "LOGGED_IN" ? "up\n" : "failed\n"),
      });
    },
  );
}
