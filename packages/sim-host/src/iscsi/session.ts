import { diskIndex, diskNumber, newDiskName, openDevice, removeDisk } from "../device.ts";
import { Hang } from "../failure.ts";
import { groupAt, groupOf, isEnabled, isWriteProtected, mappedBackstore, mappedLuns, portalText } from "../lio/view.ts";
import type { Machine } from "../machine.ts";
import type { SessionDoc } from "../model.ts";
import { admit } from "./admission.ts";
import { addNexus, liveSession, removeNexus } from "./nexus.ts";
import { credentialsOf, initiatorNameOf, type NodeRecord } from "./record.ts";

/** Exit codes of iscsiadm(8) that a login ends with. */
export type LoginResult = 0 | 6 | 8 | 15 | 19 | 24;

export function login(machine: Machine, record: NodeRecord): LoginResult {
  const initiator = initiatorNameOf(machine, record);
  if (initiator === undefined) return 6;
  const { iqn, address, port, iface } = record;
  if (sessionIds(machine, iqn).some((sid) => isSameLogin(machine, sid, record))) return 15;
  const target = machine.peerAt(address);
  const portal = portalText(address, port);
  if (target?.model.listeners.has(target.at(portal)) !== true) return 8;
  const group = groupAt(target, iqn, portal);
  if (group === undefined || !isEnabled(group.node)) return givenUp(record);
  const credentials = credentialsOf(record);
  const refused = admit(group.node, initiator, credentials);
  if (refused !== undefined) return refused === "target not trusted" ? 19 : 24;

  machine.loadModules("libiscsi", "scsi_transport_iscsi", "iscsi_tcp");
  const kernel = machine.editKernel();
  const sid = kernel.nextSession;
  kernel.nextSession += 1;
  const session: SessionDoc = {
    target: iqn,
    tpgt: group.name,
    address,
    port,
    peer: target.name,
    initiator,
    iface,
    state: "LOGGED_IN",
    credentials,
    disks: {},
  };
  machine.model.sessions.put(machine.at(String(sid)), session);
  machine.model.sessionsByTarget.put(machine.at(`${iqn}/${sid}`), { session: sid });
  addNexus(target, iqn, initiator, { machine: machine.name, session: sid });
  scan(machine, sid);
  return 0;
}

/**
 * LIO answers a login to a target it does not have, or whose portal group is disabled, with "service unavailable" (0301), which
 * iscsid goes on trying until the limits of its record are spent; then it reports a timeout (open-iscsi 2.1.8). With the usual
 * limits that is two minutes, which no caller waits for.
 */
function givenUp(record: NodeRecord): LoginResult {
  const tries = Number(record.values.get("node.session.initial_login_retry_max") ?? 8);
  const seconds = Number(record.values.get("node.conn[0].timeo.login_timeout") ?? 15);
  if (tries * seconds > 30) throw new Hang(`login to ${record.iqn}: the target does not take it`);
  return 8;
}

function isSameLogin(machine: Machine, sid: number, record: NodeRecord): boolean {
  const session = machine.model.sessions.get(machine.at(String(sid)));
  return (
    session?.target === record.iqn &&
    session.address === record.address &&
    session.port === record.port &&
    session.iface === record.iface
  );
}

/** Asks the target what is mapped: new LUNs become disks, known ones take the size they have now. */
export function scan(machine: Machine, sid: number): void {
  if (liveSession(machine, sid)?.state !== "LOGGED_IN") return;
  const session = machine.model.sessions.edit(machine.at(String(sid)));
  const target = session === undefined ? undefined : machine.peer(session.peer);
  const group = session === undefined || target === undefined ? undefined : groupOf(target, session.target, session.tpgt);
  if (session === undefined || target === undefined || group === undefined) return;
  for (const lun of mappedLuns(group, session.initiator)) {
    const served = mappedBackstore(target, session.target, session.tpgt, session.initiator, lun);
    if (served?.device === undefined) continue;
    const { size } = openDevice(target, served.device);
    const readOnly = isWriteProtected(target, session.target, session.tpgt, session.initiator, lun);
    const known = session.disks[String(lun)];
    const disk = known === undefined ? undefined : machine.model.devices.edit(machine.at(known));
    if (disk?.kind === "disk") {
      disk.size = size.toString();
      disk.readOnly = readOnly;
      continue;
    }
    const name = newDiskName(machine);
    session.disks[String(lun)] = name;
    machine.model.devices.put(machine.at(name), {
      kind: "disk",
      session: sid,
      lun,
      serial: served.attributes?.["wwn/vpd_unit_serial"] ?? "",
      size: size.toString(),
      readOnly,
      number: diskNumber(diskIndex(name)),
      holders: [],
      gone: false,
    });
  }
}

/** `echo 1 > device/rescan` looks at the one disk alone. */
export function rescanDisk(machine: Machine, name: string): void {
  const found = machine.model.devices.get(machine.at(name));
  if (found?.kind === "disk" && !found.gone) scan(machine, found.session);
}

/** Ends a session whatever hangs on it: iscsiadm does not look at mounts. */
export function logout(machine: Machine, sid: number): void {
  const session = forgetSession(machine, sid);
  for (const disk of Object.values(session?.disks ?? {})) removeDisk(machine, disk);
}

/** Takes a session out of both kernels; its disks are the caller's. */
export function forgetSession(machine: Machine, sid: number): SessionDoc | undefined {
  const session = machine.model.sessions.get(machine.at(String(sid)));
  if (session === undefined) return undefined;
  removeNexus(machine.peer(session.peer), session.target, session.initiator, { machine: machine.name, session: sid });
  machine.model.sessions.delete(machine.at(String(sid)));
  machine.model.sessionsByTarget.delete(machine.at(`${session.target}/${sid}`));
  return session;
}

/** All sessions of a machine, or those to one target. */
export function sessionIds(machine: Machine, iqn?: string): readonly number[] {
  const { sessions, sessionsByTarget } = machine.model;
  const names = iqn === undefined ? sessions.children(machine.name) : sessionsByTarget.children(machine.at(iqn));
  return names.map(Number).sort((a, b) => a - b);
}
