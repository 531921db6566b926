import type { FileOperation, FileResult } from "@zfsilo/command";
import { bytes, parseBytes, type Bytes } from "@zfsilo/lib";
import { isIP } from "node:net";
import { filesOf, type Files } from "../file-results.ts";
import { describeStacked, type Holder } from "../holders/stacked.ts";
import { parsePortal, type Portal } from "../lio/names.ts";

export interface SessionDevice {
  /** `sda`; the node is /dev/sda. */
  readonly name: string;
  readonly lun: number;
  readonly sizeBytes: Bytes;
  /** Its number, as mountinfo shows it: `8:16`. */
  readonly majorMinor: string;
  /** The SCSI unit serial (VPD page 80): the volume's handle. Absent when the page could not be read. */
  readonly serial?: string;
  /** `running`, `blocked`, `transport-offline`, `offline`, … (drivers/scsi/scsi_sysfs.c). */
  readonly state: string;
}

export interface Session {
  readonly sid: number;
  readonly target: string;
  /** Absent while the session is being made. */
  readonly portal?: Portal;
  /** `LOGGED_IN`, `FAILED` or `FREE` (drivers/scsi/scsi_transport_iscsi.c); `unknown` while it is being made or unmade. */
  readonly state: string;
  readonly initiatorName: string;
  /** `default`, or the name of the interface file it was made through. */
  readonly iface: string;
  readonly devices: readonly SessionDevice[];
}

const sessions = "/sys/class/iscsi_session/session";
const connections = "/sys/class/iscsi_connection/connection";

/** Whose session is which, at two small reads a session. */
export const sessionNameReads: readonly FileOperation[] = [
  { op: "read-glob", path: `${sessions}*/targetname` },
  { op: "read-glob", path: `${sessions}*/ifacename` },
];

/** What is stacked on the disks of sessions, an LVM volume say: it would lose what it has not written, and hold on to a dead disk. */
export const stackedReads: readonly FileOperation[] = ["dev", "dm/name", "dm/uuid"].map((file) => ({
  op: "read-glob",
  path: `${sessions}*/device/target*/*/block/*/holders/*/${file}`,
}));

export function readStacked(results: readonly FileResult[], sids: readonly number[]): Holder[] {
  const [stacked = [], names = [], uuids = []] = stackedReads.map((_, index) => filesOf(results[index]).filter(([path]) => sids.includes(sessionOf(path))));
  return describeStacked(stacked, names, uuids);
}

/** The ids of the sessions to one target through one interface. */
export function readSessionIds(results: readonly FileResult[], target: string, iface: string): number[] {
  const ifaces = bySession(filesOf(results[1]));
  return filesOf(results[0])
    .filter(([path, name]) => name.trim() === target && ifaces.get(sessionOf(path)) === iface)
    .map(([path]) => sessionOf(path));
}

/**
 * One session, or all of the host, in one batch of file reads: no iscsiadm, whose by-path links come seconds later
 * (hosts.md). Reading all costs with their number, so whoever wants one gives its id.
 */
export function sessionReads(sid?: number): readonly FileOperation[] {
  const session = `${sessions}${sid ?? "*"}`;
  const connection = `${connections}${sid === undefined ? "*" : `${sid}:*`}`;
  const unit = `${session}/device/target*/*`;
  return [
    `${session}/targetname`,
    `${session}/state`,
    `${session}/initiatorname`,
    `${session}/ifacename`,
    `${connection}/persistent_address`,
    `${connection}/persistent_port`,
    `${unit}/block/*/size`,
    `${unit}/vpd_pg80`,
    `${unit}/state`,
    `${unit}/block/*/dev`,
  ].map((path) => ({ op: "read-glob", path }));
}

export function readSessions(results: readonly FileResult[]): Session[] {
  const files = sessionReads().map((_, index) => filesOf(results[index]));
  const [states, initiators, ifaces] = [1, 2, 3].map((index) => bySession(files[index] ?? []));
  const [addresses, ports] = [4, 5].map((index) => byConnection(files[index] ?? []));
  const devices = readDevices(files[6] ?? [], files[7] ?? [], files[8] ?? [], files[9] ?? []);
  return (files[0] ?? [])
    .map(([path, target]) => {
      const sid = sessionOf(path);
      const portal = readPortalOf(addresses?.get(sid), ports?.get(sid));
      return {
        sid,
        target: target.trim(),
        state: states?.get(sid) ?? "unknown",
        initiatorName: initiators?.get(sid) ?? "",
        iface: ifaces?.get(sid) ?? "default",
        devices: devices.filter((device) => device.sid === sid).map(({ sid: _, ...device }) => device),
        ...(portal === undefined ? {} : { portal }),
      };
    })
    .sort((a, b) => a.sid - b.sid);
}

function readDevices(sizes: Files, serials: Files, states: Files, numbers: Files): (SessionDevice & { readonly sid: number })[] {
  const serialAt = new Map(serials.map(([path, text]) => [unitOf(path), readSerialPage(text)]));
  const stateAt = new Map(states.map(([path, text]) => [unitOf(path), text.trim()]));
  const numberAt = new Map(numbers.map(([path, text]) => [unitOf(path), text.trim()]));
  return sizes.flatMap(([path, text]) => {
    // .../device/target2:0:0/2:0:0:0/block/sda/size
    const match = /\/target[^/]*\/\d+:\d+:\d+:(\d+)\/block\/([^/]+)\/size$/.exec(path);
    const name = match?.[2];
    if (name === undefined) return [];
    const serial = serialAt.get(unitOf(path));
    return {
      sid: sessionOf(path),
      name,
      lun: Number(match?.[1]),
      sizeBytes: sectors(text),
      majorMinor: numberAt.get(unitOf(path)) ?? "",
      state: stateAt.get(unitOf(path)) ?? "unknown",
      ...(serial === undefined || serial === "" ? {} : { serial }),
    };
  });
}

/** /sys/block/X/size counts units of 512 bytes, whatever the device's own sector. */
export function sectors(text: string): Bytes {
  return bytes(parseBytes(text.trim()) * 512n);
}

/**
 * SPC-4 7.8.13: four bytes of header (device type, page 80h, length in two bytes), then the serial; LIO adds a NUL. Decoded as
 * UTF-8 each header byte is one character, as 80h stands alone between bytes that cannot continue it.
 */
export function readSerialPage(text: string): string {
  return text.slice(4).replaceAll("\u0000", "").trim();
}

function readPortalOf(address: string | undefined, port: string | undefined): Portal | undefined {
  if (address === undefined || port === undefined || isIP(address) === 0) return undefined;
  return parsePortal({ address, port: Number(port) });
}

function sessionOf(path: string): number {
  return Number(/\/session(\d+)\//.exec(path)?.[1]);
}

function unitOf(path: string): string {
  return /^.*\/\d+:\d+:\d+:\d+(?=\/)/.exec(path)?.[0] ?? path;
}

function bySession(files: Files): Map<number, string> {
  return new Map(files.map(([path, text]) => [sessionOf(path), text.trim()]));
}

/** connectionSID:CID; open-iscsi makes one connection a session. */
function byConnection(files: Files): Map<number, string> {
  return new Map(files.map(([path, text]) => [Number(/\/connection(\d+):/.exec(path)?.[1]), text.trim()]));
}
