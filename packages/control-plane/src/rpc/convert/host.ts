import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  AgentConnectionSchema,
  AgentStatusSchema,
  CheckState,
  HostCheckSchema,
  HostRole,
  HostSchema,
  HostState,
  LocalConnectionSchema,
  SimulatedConnectionSchema,
  SshConnectionSchema,
  type AgentStatus,
  type Host,
  type HostCheck,
} from "@zfsilo/api";
import { assertNever } from "@zfsilo/lib";
import type { Connection, HostRecord, HostRole as RoleWord } from "../../store/model.ts";
import type { HostCheckResult, HostView } from "../ports.ts";
import { conditionToMessage } from "./condition.ts";

const role = { target: HostRole.TARGET, initiator: HostRole.INITIATOR } as const satisfies Record<RoleWord, HostRole>;

const checkState = {
  ok: CheckState.OK,
  warning: CheckState.WARNING,
  failed: CheckState.FAILED,
} as const satisfies Record<HostCheckResult["state"], CheckState>;

/** `view` is what is known of the machine besides its record. */
export function hostToMessage(host: HostRecord, { seen, agent }: HostView = {}): Host {
  const condition = conditionToMessage(host.condition);
  const lastSeen = latest(seen?.lastSeen, agent?.record.lastSeenAt, agent?.link?.lastSeen);
  return create(HostSchema, {
    name: `hosts/${host.id}`,
    displayName: host.displayName,
    labels: { ...host.labels },
    roles: host.roles.map((word) => role[word]),
    connection: connectionToMessage(host.connection),
    pools: host.pools.map((pool) => ({ ...pool })),
    portals: host.portals.map((portal) => ({ ...portal })),
    initiatorIqn: host.initiatorIqn,
    allowedRoots: [...host.allowedRoots],
    ...(condition && { condition }),
    revision: BigInt(host.revision),
    createTime: timestampFromDate(host.createdAt),
    updateTime: timestampFromDate(host.updatedAt),
    state: stateOf(host, { seen, agent }),
    ...(lastSeen && { lastSeenTime: timestampFromDate(lastSeen) }),
    ...(agent && host.connection.kind === "agent" && { agentStatus: agentStatusOf(agent) }),
  });
}

/** An agent's stream is open or not; of other hosts it is known once they were asked something. */
function stateOf({ connection }: HostRecord, { seen, agent }: HostView): HostState {
  const online = connection.kind === "agent" ? agent?.link !== undefined : seen?.online;
  if (online === undefined) return HostState.UNSPECIFIED;
  return online ? HostState.ONLINE : HostState.OFFLINE;
}

function agentStatusOf({ record, link }: NonNullable<HostView["agent"]>): AgentStatus {
  const problem = conditionToMessage(record.problem);
  return create(AgentStatusSchema, {
    version: link?.identity.version ?? record.version,
    nodeName: link?.identity.nodeName ?? record.nodeName,
    enrolTime: timestampFromDate(record.enrolledAt),
    ...(link && { connectTime: timestampFromDate(link.connectedAt) }),
    ...(record.revokedAt && { revokeTime: timestampFromDate(record.revokedAt) }),
    ...(problem && { problem }),
  });
}

function latest(...times: readonly (Date | undefined)[]): Date | undefined {
  return times.reduce((newest, time) => (time !== undefined && (newest === undefined || time > newest) ? time : newest), undefined);
}

function connectionToMessage(connection: Connection): Host["connection"] {
  switch (connection.kind) {
    case "local":
      return { case: "local", value: create(LocalConnectionSchema) };
    case "simulated":
      return { case: "simulated", value: create(SimulatedConnectionSchema) };
    case "agent":
      return { case: "agent", value: create(AgentConnectionSchema) };
    case "ssh": {
      const { kind: _kind, ...fields } = connection;
      return { case: "ssh", value: create(SshConnectionSchema, fields) };
    }
    default:
      return assertNever(connection);
  }
}

export function hostCheckToMessage({ state, ...check }: HostCheckResult): HostCheck {
  return create(HostCheckSchema, { ...check, state: checkState[state] });
}
