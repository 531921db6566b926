import type { RunResult } from "@zfsilo/command";
import { UnmodelledError } from "../failure.ts";
import { putFile } from "../files/file-tree.ts";
import type { Machine } from "../machine.ts";
import { done, failed, ToolFailure } from "../program.ts";
import { findRecords, formatRecord, nodesRoot, type NodeRecord } from "./record.ts";
import { sessionIds } from "./session.ts";

export interface RecordQuery {
  readonly target: string | undefined;
  readonly portal: { readonly address: string; readonly port: string } | undefined;
  readonly iface: string | undefined;
  readonly names: readonly string[];
  readonly values: readonly string[];
}

/** Settings that `-o update` knows; the rest of idbm's long list is not modelled by name. */
const knownSetting = /^(node\.(startup|session|conn)|iface)\b/;

/** iscsiadm -m node -o new | update | delete | show. */
export function nodeRecords(machine: Machine, operation: string, query: RecordQuery): RunResult {
  if (operation === "new") return create(machine, query);
  const records = targets(machine, query).flatMap((target) => findRecords(machine, target, query.portal, query.iface));
  if (records.length === 0) return failed(21, "iscsiadm: No records found");
  if (operation === "show") {
    if (query.target === undefined) return done(records.map((record) => `${where(record)} ${record.iqn}\n`).join(""));
    return done(records.map((record) => formatRecord(record.values)).join(""));
  }
  if (operation === "update") return update(machine, records, query);
  if (operation === "delete") return remove(machine, records);
  throw new UnmodelledError(`iscsiadm -o ${operation}`);
}

const where = (record: NodeRecord): string => `${record.address}:${record.port},${record.tpgt}`;

function targets(machine: Machine, query: RecordQuery): readonly string[] {
  if (query.target !== undefined) return [query.target];
  return machine.model.files.children(`${machine.rootContent}/${nodesRoot}`);
}

const pathOf = (record: NodeRecord): string =>
  `/${nodesRoot}/${record.iqn}/${record.address},${record.port},${record.tpgt}/${record.iface}`;

/** Resets an existing record to the defaults, without a word. */
function create(machine: Machine, query: RecordQuery): RunResult {
  const { target, portal } = query;
  if (target === undefined || portal === undefined) throw new UnmodelledError("iscsiadm -o new without -T and -p");
  const values = new Map([
    ["node.name", target],
    ["node.tpgt", "1"],
    ["node.startup", "manual"],
    ["iface.iscsi_ifacename", query.iface ?? "default"],
    ["iface.transport_name", "tcp"],
    ["node.session.auth.authmethod", "None"],
    ["node.session.timeo.replacement_timeout", "120"],
    ["node.conn[0].address", portal.address],
    ["node.conn[0].port", portal.port],
  ]);
  const iface = query.iface ?? "default";
  putFile(machine, `/${nodesRoot}/${target}/${portal.address},${portal.port},1/${iface}`, formatRecord(values), 0o600);
  return done(`New iSCSI node [tcp:[hw=,ip=,net_if=,iscsi_if=${iface}] ${portal.address},${portal.port},1 ${target}] added\n`);
}

function update(machine: Machine, records: readonly NodeRecord[], query: RecordQuery): RunResult {
  for (const name of query.names) {
    if (!knownSetting.test(name)) {
      throw new ToolFailure(
        7,
        `iscsiadm: Cannot modify ${name}. Invalid param name.\niscsiadm: Could not execute operation on all records: invalid parameter`,
      );
    }
  }
  for (const record of records) {
    const values = new Map(record.values);
    for (const [index, name] of query.names.entries()) values.set(name, query.values[index] ?? "");
    putFile(machine, pathOf(record), formatRecord(values), 0o600);
  }
  return done();
}

function remove(machine: Machine, records: readonly NodeRecord[]): RunResult {
  for (const record of records) {
    const used = sessionIds(machine, record.iqn).some((sid) => {
      const session = machine.model.sessions.get(machine.at(String(sid)));
      return session?.address === record.address && session.iface === record.iface;
    });
    if (used) {
      const text = `[iface: ${record.iface}, target: ${record.iqn}, portal: ${record.address},${record.port}]`;
      throw new ToolFailure(
        15,
        `iscsiadm: This command will remove the record ${text}, but a session is using it. Logout session then rerun command to remove record.\niscsiadm: Could not execute operation on all records: session exists`,
      );
    }
  }
  const { files } = machine.model;
  for (const record of records) {
    // The directories go with their last entry.
    for (let path = `${machine.rootContent}${pathOf(record)}`; !files.hasChildren(path); path = path.slice(0, path.lastIndexOf("/"))) {
      if (path.endsWith(nodesRoot)) break;
      files.delete(path);
    }
  }
  return done();
}
