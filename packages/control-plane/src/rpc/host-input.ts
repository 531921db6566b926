import { create, isFieldSet } from "@bufbuild/protobuf";
import { HostRole, HostSchema, type CreateHostRequest, type Host, type UpdateHostRequest } from "@zfsilo/api";
import { invalidField, newId, parseHostId, type HostId } from "@zfsilo/lib";
import { checkHostSpec, type HostSpec } from "../host/host-spec.ts";
import type { Connection, HostRecord, HostRole as RoleWord, HostTemplate } from "../store/model.ts";
import type { HostChange } from "../store/stores.ts";
import { parseHostName, parseResourceId } from "./field.ts";

const outputOnly = ["name", "condition", "revision", "createTime", "updateTime", "state", "lastSeenTime", "agentStatus"] as const;
const inHost = (field: string): string => `host.${field}`;

export function parseCreateHost(request: CreateHostRequest): HostRecord {
  const id = request.hostId === "" ? newId("host") : parseResourceId("host_id", () => parseHostId(request.hostId));
  const host = request.host ?? create(HostSchema);
  refuseOutputOnly(host, inHost);
  const now = new Date();
  return {
    id,
    ...checkHostSpec(specOf(host), inHost),
    condition: undefined,
    revision: 1,
    createdAt: now,
    updatedAt: now,
  };
}

function refuseOutputOnly(host: Host, name: (field: string) => string): void {
  for (const localName of outputOnly) {
    const field = HostSchema.field[localName];
    if (isFieldSet(host, field)) throw invalidField(name(field.name), "is set by the server alone", "Leave it out.");
  }
}

/** What the hosts that a join token makes have in common. Roots that are left out are the agent's own. */
export function parseHostTemplate(host: Host): HostTemplate {
  const inTemplate = (field: string): string => `host_template.${field}`;
  refuseOutputOnly(host, inTemplate);
  if (host.connection.case !== undefined && host.connection.case !== "agent") {
    throw invalidField(inTemplate(host.connection.case), "hosts that join are reached by their agents", "Leave it out.");
  }
  if (host.initiatorIqn !== "") throw invalidField(inTemplate("initiator_iqn"), "no two hosts have the same one", "Leave it out: it is read from the machine.");
  const spec = specOf(host, { kind: "agent" });
  const { connection: _connection, allowedRoots, ...rest } = checkHostSpec(spec, inTemplate);
  return { ...rest, allowedRoots: host.allowedRoots.length === 0 ? [] : allowedRoots };
}

export interface HostUpdate {
  readonly id: HostId;
  /** The revision that the caller saw; undefined when it does not care. */
  readonly revision: number | undefined;
  /** What the named fields become on the host as it is now. */
  changeOf(current: HostRecord): HostChange;
}

const changeable: Readonly<Record<string, readonly (keyof HostChange & keyof HostSpec)[]>> = {
  display_name: ["displayName"],
  labels: ["labels"],
  portals: ["portals"],
  pools: ["pools"],
  allowed_roots: ["allowedRoots"],
  initiator_iqn: ["initiatorIqn"],
  local: ["connection"],
  ssh: ["connection"],
  agent: ["connection"],
};

export function parseUpdateHost({ host = create(HostSchema), updateMask }: UpdateHostRequest): HostUpdate {
  const id = parseHostName(host.name, "host.name");
  const paths = updateMask?.paths ?? [];
  if (paths.length === 0) throw invalidField("update_mask", "is required", `Name the fields to change: ${Object.keys(changeable).join(", ")}.`);
  for (const path of paths) refuseUnchangeable(path, host);
  if (host.revision < 0n || host.revision > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidField("host.revision", "is not one that was ever given out");
  const keys = new Set(paths.flatMap((path) => changeable[path] ?? []));
  return {
    id,
    revision: host.revision === 0n ? undefined : Number(host.revision),
    changeOf(current) {
      const asked = pick(specOf({ ...host, roles: current.roles.map(roleOf) }, current.connection), keys);
      return pick(checkHostSpec({ ...current, ...asked }, inHost), keys);
    },
  };
}

function refuseUnchangeable(path: string, host: Host): void {
  if (!Object.hasOwn(changeable, path)) {
    const exists = HostSchema.fields.some(({ name }) => name === path);
    throw invalidField(
      "update_mask",
      `${JSON.stringify(path.slice(0, 80))} ${exists ? "cannot be changed" : "is no field of a host"}`,
      `These can be changed: ${Object.keys(changeable).join(", ")}.`,
    );
  }
  if ((path === "local" || path === "ssh" || path === "agent") && host.connection.case !== path) {
    throw invalidField(inHost(path), "is named by update_mask, but not set");
  }
}

/** Undefined for UNSPECIFIED, and for numbers that a newer client knows. */
function wordOf(role: HostRole): RoleWord | undefined {
  if (role === HostRole.TARGET) return "target";
  return role === HostRole.INITIATOR ? "initiator" : undefined;
}

function roleOf(word: RoleWord): HostRole {
  return word === "target" ? HostRole.TARGET : HostRole.INITIATOR;
}

function pick<T extends object, K extends keyof T>(from: T, keys: ReadonlySet<K>): Pick<T, K> {
  return Object.fromEntries(Object.entries(from).filter(([key]) => (keys as ReadonlySet<string>).has(key))) as Pick<T, K>;
}

function specOf(host: Host, connectionNow?: Connection): HostSpec {
  return {
    displayName: host.displayName,
    labels: host.labels,
    roles: host.roles.map((role, index) => {
      const word = wordOf(role);
      if (word === undefined) throw invalidField(`host.roles[${index}]`, "is unknown", "Known: HOST_ROLE_TARGET, HOST_ROLE_INITIATOR.");
      return word;
    }),
    connection: connectionOf(host, connectionNow),
    pools: host.pools.map(({ name, parentDataset, quotaBytes, overcommitRatio }) => ({
      name,
      parentDataset,
      overcommitRatio,
      ...(quotaBytes !== undefined && { quotaBytes }),
    })),
    portals: host.portals.map(({ address, port }) => ({ address, port })),
    initiatorIqn: host.initiatorIqn,
    allowedRoots: host.allowedRoots,
  };
}

function connectionOf({ connection }: Host, otherwise: Connection | undefined): Connection {
  switch (connection.case) {
    case "local":
    case "simulated":
    case "agent":
      return { kind: connection.case };
    case "ssh": {
      const { address, port, user, privateKeyFile, knownHostsFile } = connection.value;
      return { kind: "ssh", address, port, user, privateKeyFile, knownHostsFile };
    }
    case undefined:
      if (otherwise !== undefined) return otherwise;
      throw invalidField("host.connection", "is required", "Set one of local, ssh, agent, simulated.");
  }
}
