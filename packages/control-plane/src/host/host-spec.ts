import { parseDatasetName, parseHostPath, parseIqn, parsePoolName, parsePortal, poolOf } from "@zfsilo/host";
import { assertNever, invalidField } from "@zfsilo/lib";
import type { Connection, HostRecord, PoolRef, PortalRef } from "../store/model.ts";
import { checkDisplayName, checkLabels } from "../text-rules.ts";
import { unusableAddress } from "./portal-address.ts";

/** What a person says about a host, from the API or from the configuration file. Empty and 0 mean the default. */
export type HostSpec = Pick<
  HostRecord,
  "displayName" | "labels" | "roles" | "connection" | "pools" | "portals" | "initiatorIqn" | "allowedRoots"
>;

/** How a refusal writes a field: `host.ssh.known_hosts_file` in the API, `hosts[0].ssh.knownHostsFile` in a file. */
export type FieldName = (field: string) => string;

const defaultRoots = ["/var/lib/kubelet", "/mnt", "/srv", "/media"];
const defaultSshPort = 22;
const defaultIscsiPort = 3260;
const maxEntries = 64;

/** Checks every field, fills in defaults, and brings names and addresses into their one form. */
export function checkHostSpec(spec: HostSpec, name: FieldName): HostSpec {
  const roles = [...new Set(spec.roles)].sort();
  if (roles.length === 0) throw invalidField(name("roles"), "at least one is required");
  const isTarget = roles.includes("target");
  const isInitiator = roles.includes("initiator");
  if (!isTarget && spec.pools.length > 0) throw invalidField(name("pools"), "only a target has pools");
  if (!isTarget && spec.portals.length > 0) throw invalidField(name("portals"), "only a target has portals");
  if (!isInitiator && spec.initiatorIqn !== "") throw invalidField(name("initiator_iqn"), "only an initiator has one");
  return {
    displayName: checkDisplayName(spec.displayName, name("display_name")),
    labels: checkLabels(spec.labels, name("labels")),
    roles,
    connection: checkConnection(spec.connection, name),
    pools: checkPools(spec.pools, name("pools")),
    portals: checkPortals(spec.portals, name("portals"), isInitiator || ["local", "simulated"].includes(spec.connection.kind)),
    initiatorIqn: spec.initiatorIqn === "" ? "" : parseIqn(spec.initiatorIqn, name("initiator_iqn")),
    allowedRoots: isInitiator ? checkRoots(spec.allowedRoots, name("allowed_roots")) : [],
  };
}

function checkConnection(connection: Connection, name: FieldName): Connection {
  switch (connection.kind) {
    case "local":
    case "simulated":
    case "agent":
      return { kind: connection.kind };
    case "ssh":
      return checkSsh(connection, (field) => name(`ssh.${field}`));
    default:
      return assertNever(connection);
  }
}

type Ssh = Extract<Connection, { kind: "ssh" }>;

function checkSsh(ssh: Ssh, name: FieldName): Ssh {
  if (ssh.address === "") throw invalidField(name("address"), "is required");
  if (ssh.address.length > 253 || !/^[A-Za-z0-9:](?:[A-Za-z0-9.:-]*[A-Za-z0-9:])?$/.test(ssh.address)) {
    throw invalidField(name("address"), "is neither a host name nor an address");
  }
  const port = ssh.port === 0 ? defaultSshPort : ssh.port;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalidField(name("port"), `${port} is not a port`);
  const user = ssh.user === "" ? "root" : ssh.user;
  if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/.test(user)) throw invalidField(name("user"), "is not a user name");
  if (ssh.knownHostsFile === "") {
    throw invalidField(
      name("known_hosts_file"),
      "is required",
      "`ssh-keyscan HOST > FILE` writes one; compare the key with the one on the machine before trusting it.",
    );
  }
  return {
    kind: "ssh",
    address: ssh.address,
    port,
    user,
    privateKeyFile: ssh.privateKeyFile === "" ? "" : parseHostPath(ssh.privateKeyFile, name("private_key_file")),
    knownHostsFile: parseHostPath(ssh.knownHostsFile, name("known_hosts_file")),
  };
}

/** A pool may be there several times, with a parent dataset of its own each time; one does not lie in another. */
function checkPools(pools: readonly PoolRef[], field: string): readonly PoolRef[] {
  checkCount(pools, field);
  const checked = pools.map(({ name, parentDataset, quotaBytes, overcommitRatio }, index): PoolRef => {
    const pool = parsePoolName(name, `${field}[${index}].name`);
    const parentField = `${field}[${index}].parent_dataset`;
    const parent = parseDatasetName(parentDataset === "" ? `${pool}/zfsilo` : parentDataset, parentField);
    if (poolOf(parent) !== pool) throw invalidField(parentField, `is not in the pool ${pool}`);
    return {
      name: pool,
      parentDataset: parent,
      ...(quotaBytes !== undefined && { quotaBytes: checkQuota(quotaBytes, parent === (pool as string), `${field}[${index}].quota_bytes`) }),
      ...checkRatio(overcommitRatio ?? 0, `${field}[${index}].overcommit_ratio`),
    };
  });
  const parents = checked.map(({ parentDataset }) => parentDataset);
  refuseRepeated(parents, field);
  for (const [index, parent] of parents.entries()) {
    const outer = parents.find((other) => parent.startsWith(`${other}/`));
    if (outer !== undefined) throw invalidField(`${field}[${index}].parent_dataset`, `lies in ${outer}, which is a parent dataset too`);
  }
  return checked;
}

function checkQuota(quotaBytes: bigint, isRoot: boolean, field: string): bigint {
  if (quotaBytes < 0n || quotaBytes >= 2n ** 63n) throw invalidField(field, `${quotaBytes} is not a size in bytes`);
  if (isRoot && quotaBytes > 0n) throw invalidField(field, "the pool's root dataset belongs to more than zfsilo", "Choose a parent dataset in it.");
  return quotaBytes;
}

/** 0 means the default. Three decimals, so that sums are made with integers. */
function checkRatio(ratio: number, field: string): Pick<PoolRef, "overcommitRatio"> {
  if (ratio === 0) return {};
  if (!(ratio >= 0.1 && ratio <= 1000)) throw invalidField(field, `${ratio} is not between 0.1 and 1000`);
  if (Math.abs(Math.round(ratio * 1000) - ratio * 1000) > 1e-6) throw invalidField(field, `${ratio} has more than three decimals`);
  return { overcommitRatio: ratio };
}

/** An initiator logs in at the address as it is given: one that means nothing to another machine is refused. */
function checkPortals(portals: readonly PortalRef[], field: string, ownInitiators: boolean): readonly PortalRef[] {
  checkCount(portals, field);
  const checked = portals.map(({ address, port }, index) => {
    const portal = parsePortal({ address, port: port === 0 ? defaultIscsiPort : port }, `${field}[${index}]`);
    const problem = unusableAddress(portal.address, ownInitiators);
    if (problem !== undefined) throw invalidField(`${field}[${index}].address`, problem, "Give the address at which initiators reach this host.");
    return portal;
  });
  refuseRepeated(checked.map(({ address, port }) => `${address} ${port}`), field);
  return checked;
}

function checkRoots(roots: readonly string[], field: string): readonly string[] {
  checkCount(roots, field);
  if (roots.length === 0) return defaultRoots;
  const checked = roots.map((root, index) => {
    const path = parseHostPath(root, `${field}[${index}]`);
    if (path === "/") throw invalidField(`${field}[${index}]`, "would allow every directory of the machine");
    return path;
  });
  refuseRepeated(checked, field);
  return checked;
}

function checkCount(entries: readonly unknown[], field: string): void {
  if (entries.length > maxEntries) throw invalidField(field, `has more than ${maxEntries} entries`);
}

function refuseRepeated(values: readonly string[], field: string): void {
  const again = values.findIndex((value, index) => values.indexOf(value) < index);
  if (again !== -1) throw invalidField(`${field}[${again}]`, "is there twice");
}
