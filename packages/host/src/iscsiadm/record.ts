import { invalidField, type Secret } from "@zfsilo/lib";
import { hasControlCharacter } from "../control-characters.ts";
import type { Iqn, Portal } from "../lio/names.ts";

/** A second identity of the same machine: an interface file with an initiator name of its own. */
export interface Interface {
  readonly name: string;
  readonly initiatorName: Iqn;
}

export interface NodeCredentials {
  readonly userid: string;
  readonly password: Secret;
  /** What the target must answer with (mutual CHAP). */
  readonly mutualUserid?: string;
  readonly mutualPassword?: Secret;
}

export interface NodeRecordKey {
  readonly target: Iqn;
  readonly portal: Portal;
  /** Default: the interface called `default`. */
  readonly iface?: Interface;
}

export interface NodeRecord extends NodeRecordKey {
  readonly chap?: NodeCredentials;
  /** How long I/O waits for a lost session before it fails. */
  readonly replacementTimeoutSeconds: number;
}

/** Our targets have one portal group. */
const portalGroup = 1;
/**
 * With the login timeout it bounds a login well below our own limit: by default iscsid tries eight times for 15 s
 * (open-iscsi, iscsid.conf), and goes on when iscsiadm has been ended.
 */
const loginAttempts = 2;
const loginTimeoutSeconds = 10;

export const defaultInterfaceName = "default";

export function interfaceName(iface: Interface | undefined): string {
  return iface?.name ?? defaultInterfaceName;
}

export function targetDirectory(database: string, target: Iqn): string {
  return `${database}/nodes/${target}`;
}

/** `nodes/IQN/ADDRESS,PORT,TPGT`, with IPv6 addresses bare. */
export function portalDirectory(database: string, { target, portal }: NodeRecordKey): string {
  return `${targetDirectory(database, target)}/${portal.address},${portal.port},${portalGroup}`;
}

export function recordPath(database: string, key: NodeRecordKey): string {
  return `${portalDirectory(database, key)}/${interfaceName(key.iface)}`;
}

/**
 * The record in the form open-iscsi keeps itself: `NAME = VALUE` lines. What is left out takes its default. Writing the file
 * costs 9 ms where `iscsiadm -o new` and updates cost 840 (hosts.md), and keeps the secret out of argv.
 */
export function formatRecord({ target, portal, chap, iface, replacementTimeoutSeconds }: NodeRecord): string {
  return frame([
    ["node.name", target],
    ["node.tpgt", String(portalGroup)],
    ["node.startup", "manual"],
    ["iface.iscsi_ifacename", interfaceName(iface)],
    ["iface.transport_name", "tcp"],
    ["iface.initiatorname", iface?.initiatorName],
    ["node.session.auth.authmethod", chap === undefined ? "None" : "CHAP"],
    ["node.session.auth.username", chap?.userid],
    ["node.session.auth.password", chap?.password.reveal()],
    ["node.session.auth.username_in", chap?.mutualUserid],
    ["node.session.auth.password_in", chap?.mutualPassword?.reveal()],
    ["node.session.timeo.replacement_timeout", String(replacementTimeoutSeconds)],
    ["node.session.initial_login_retry_max", String(loginAttempts)],
    ["node.conn[0].address", portal.address],
    ["node.conn[0].port", String(portal.port)],
    ["node.conn[0].timeo.login_timeout", String(loginTimeoutSeconds)],
  ]);
}

export function formatInterface({ name, initiatorName }: Interface): string {
  return frame([
    ["iface.iscsi_ifacename", name],
    ["iface.initiatorname", initiatorName],
    ["iface.transport_name", "tcp"],
  ]);
}

/** Refuses what would end a line of the record, or its directory, before anything is written. */
export function requireRecord({ chap, iface, replacementTimeoutSeconds }: NodeRecord): void {
  if (iface !== undefined && !/^[a-z0-9][a-z0-9_.-]{0,63}$/.test(iface.name)) {
    throw invalidField("iface.name", "must be 1 to 64 lower-case letters, digits, '_', '.' or '-'");
  }
  if (iface?.name === defaultInterfaceName) throw invalidField("iface.name", "is that of the host's own interface");
  if (!Number.isInteger(replacementTimeoutSeconds) || replacementTimeoutSeconds < 1 || replacementTimeoutSeconds > 86_400) {
    throw invalidField("replacement_timeout_seconds", "must be 1 to 86400");
  }
  const values = [chap?.userid, chap?.password.reveal(), chap?.mutualUserid, chap?.mutualPassword?.reveal()];
  for (const value of values) {
    if (value === undefined) continue;
    // open-iscsi trims the value and keeps 255 bytes (AUTH_STR_MAX_LEN 256, usr/idbm.c).
    if (value === "" || value.trim() !== value || hasControlCharacter(value) || Buffer.byteLength(value) > 255) {
      throw invalidField("chap", "user ids and passwords must be 1 to 255 printable bytes without spaces at the ends");
    }
  }
  if ((chap?.mutualUserid === undefined) !== (chap?.mutualPassword === undefined)) {
    throw invalidField("chap", "mutual user id and password come together");
  }
}

/** The value of one name in a record or in initiatorname.iscsi; comments are lines that begin with `#`. */
export function readSetting(text: string, name: string): string | undefined {
  for (const line of text.split("\n")) {
    const equals = line.indexOf("=");
    if (line.startsWith("#") || equals === -1 || line.slice(0, equals).trim() !== name) continue;
    return line.slice(equals + 1).trim();
  }
  return undefined;
}

function frame(settings: readonly (readonly [name: string, value: string | undefined])[]): string {
  const lines = settings.flatMap(([name, value]) => (value === undefined ? [] : [`${name} = ${value}`]));
  // The version is a comment to open-iscsi; this is the one whose format was followed.
  return ["# BEGIN RECORD 2.1.8", ...lines, "# END RECORD", ""].join("\n");
}
