import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  CheckState,
  HostCheckSchema,
  HostRole,
  HostSchema,
  LocalConnectionSchema,
  SimulatedConnectionSchema,
  SshConnectionSchema,
  type Host,
  type HostCheck,
} from "@zfsilo/api";
import { assertNever } from "@zfsilo/lib";
import type { Connection, HostRecord, HostRole as RoleWord } from "../../store/model.ts";
import type { HostCheckResult } from "../ports.ts";
import { conditionToMessage } from "./condition.ts";

const role = { target: HostRole.TARGET, initiator: HostRole.INITIATOR } as const satisfies Record<RoleWord, HostRole>;

const checkState = {
  ok: CheckState.OK,
  warning: CheckState.WARNING,
  failed: CheckState.FAILED,
} as const satisfies Record<HostCheckResult["state"], CheckState>;

export function hostToMessage(host: HostRecord): Host {
  const condition = conditionToMessage(host.condition);
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
  });
}

function connectionToMessage(connection: Connection): Host["connection"] {
  switch (connection.kind) {
    case "local":
      return { case: "local", value: create(LocalConnectionSchema) };
    case "simulated":
      return { case: "simulated", value: create(SimulatedConnectionSchema) };
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
