import type { Machine } from "../machine.ts";
import type { Credentials, FileDoc } from "../model.ts";

/** open-iscsi's node records: plain files of `NAME = VALUE` lines below /etc/iscsi/nodes/IQN/ADDRESS,PORT,TPGT/IFACE. */

export const nodesRoot = "etc/iscsi/nodes";

export interface NodeRecord {
  readonly iqn: string;
  readonly address: string;
  readonly port: string;
  readonly tpgt: string;
  readonly iface: string;
  readonly values: ReadonlyMap<string, string>;
}

function file(machine: Machine, path: string): FileDoc | undefined {
  return machine.model.files.get(`${machine.rootContent}/${path}`);
}

/** The records of a target at a portal (or all of its portals) for an interface (or all). */
export function findRecords(machine: Machine, iqn: string, portal?: { address: string; port: string }, iface?: string): NodeRecord[] {
  const root = `${nodesRoot}/${iqn}`;
  const entries = machine.model.files.children(`${machine.rootContent}/${root}`);
  return entries.flatMap((entry) => {
    const [address = "", port = "", tpgt = ""] = entry.split(",");
    if (portal !== undefined && (portal.address !== address || portal.port !== port)) return [];
    const names = machine.model.files.children(`${machine.rootContent}/${root}/${entry}`);
    return names
      .filter((name) => iface === undefined || name === iface)
      .flatMap((name) => {
        const found = file(machine, `${root}/${entry}/${name}`);
        if (found?.kind !== "file") return [];
        return [{ iqn, address, port, tpgt, iface: name, values: parseRecord(found.text) }];
      });
  });
}

/** Lines that are neither comments nor settings are passed over, as idbm_recinfo does. */
export function parseRecord(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const match = /^\s*([a-z][^\s=]*)\s*=\s*(.*?)\s*$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined && match[2] !== "") values.set(match[1], match[2]);
  }
  return values;
}

export function formatRecord(values: ReadonlyMap<string, string>): string {
  const lines = Array.from(values, ([name, value]) => `${name} = ${value}\n`);
  return `# BEGIN RECORD 2.1.8\n${lines.join("")}# END RECORD\n`;
}

export function credentialsOf(record: NodeRecord): Credentials {
  const value = (name: string): string | undefined => record.values.get(`node.session.auth.${name}`);
  const user = value("username");
  const password = value("password");
  const targetUser = value("username_in");
  const targetPassword = value("password_in");
  return {
    method: value("authmethod") ?? "None",
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(targetUser === undefined ? {} : { targetUser }),
    ...(targetPassword === undefined ? {} : { targetPassword }),
  };
}

/** The name this machine logs in under: that of the interface, else of its record, else of the machine. */
export function initiatorNameOf(machine: Machine, record: NodeRecord): string | undefined {
  const fromIface = file(machine, `etc/iscsi/ifaces/${record.iface}`);
  const own = fromIface === undefined ? undefined : parseRecord(fromIface.text).get("iface.initiatorname");
  return record.values.get("iface.initiatorname") ?? own ?? machineInitiatorName(machine);
}

export function machineInitiatorName(machine: Machine): string | undefined {
  const found = file(machine, "etc/iscsi/initiatorname.iscsi");
  return /^InitiatorName=(\S+)$/m.exec(found?.text ?? "")?.[1];
}
