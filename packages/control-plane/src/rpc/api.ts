import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import {
  AgentService,
  GroupSnapshotService,
  health,
  HostService,
  OperationService,
  OrphanService,
  PoolService,
  reflectionV1,
  reflectionV1alpha,
  Service,
  SnapshotService,
  VolumeService,
} from "@zfsilo/api";
import type { Logger } from "@zfsilo/lib";
import { agentService, type AgentServiceDeps } from "./agent-service.ts";
import type { ConnectionLimits, PortLimit } from "./connections.ts";
import { gateway, maxStrangerMessageBytes } from "./gateway.ts";
import { healthService } from "./health.ts";
import { hostService, type HostServiceDeps } from "./host-service.ts";
import { httpRoutes, type HttpRoutes } from "./http-routes.ts";
import { callInterceptor, type CallObserver } from "./interceptors/call.ts";
import { operationService, type OperationServiceDeps } from "./operation-service.ts";
import { orphanService, type OrphanServiceDeps } from "./orphan-service.ts";
import { poolService, type PoolServiceDeps } from "./pool-service.ts";
import type { Readiness } from "./readiness.ts";
import { Reflection } from "./reflection.ts";
import { RpcServer } from "./server.ts";
import { service, type ServiceDeps } from "./service.ts";
import type { TlsIdentity } from "./tls.ts";
import type { Tokens } from "./tokens.ts";

export interface ApiOptions {
  readonly tls?: TlsIdentity | undefined;
  readonly log: Logger;
  readonly tokens: Tokens;
  readonly readiness: Readiness;
  readonly calls: CallObserver;
  readonly metrics: HttpRoutes["metrics"];
  readonly limits?: Partial<ConnectionLimits>;
  readonly limited: (limit: PortLimit) => void;
  readonly messageTimeoutMs?: number;
  readonly service: ServiceDeps;
  readonly hosts: HostServiceDeps;
  readonly operations: Omit<OperationServiceDeps, "stopping">;
  readonly volumes: ServiceImpl<typeof VolumeService>;
  readonly snapshots: ServiceImpl<typeof SnapshotService>;
  readonly groups: ServiceImpl<typeof GroupSnapshotService>;
  readonly orphans: OrphanServiceDeps;
  readonly pools: PoolServiceDeps;
  readonly agents: AgentServiceDeps;
}

const described = [
  Service,
  HostService,
  VolumeService,
  SnapshotService,
  GroupSnapshotService,
  OperationService,
  OrphanService,
  PoolService,
  AgentService,
  health.Health,
  reflectionV1.ServerReflection,
  reflectionV1alpha.ServerReflection,
];

/** The server with all that it offers; `start` it. */
export function apiServer(options: ApiOptions): RpcServer {
  const { log, readiness, tokens } = options;
  return new RpcServer({
    log,
    tls: options.tls,
    limits: options.limits ?? {},
    limited: options.limited,
    handler: (stopping, connections) =>
      gateway({
        log,
        connections,
        messageTimeoutMs: options.messageTimeoutMs,
        interceptors: [callInterceptor(log, options.calls)],
        callerOf: (authorization) => tokens.callerOf(authorization),
        otherwise: httpRoutes({ readiness, metrics: options.metrics }),
        refused: (method, code, seconds) => {
          options.calls.ended(method, code, seconds);
        },
        routes: (router) => {
          addServices(router, options, stopping);
        },
      }),
  });
}

const strangers = { readMaxBytes: maxStrangerMessageBytes };
/** What agents answer comes in pieces below this (agent/src/requests.ts). They are admitted before one is read. */
const maxAgentMessageBytes = 4 << 20;

function addServices(router: ConnectRouter, options: ApiOptions, stopping: AbortSignal): void {
  router.service(Service, service(options.service));
  router.service(HostService, hostService(options.hosts));
  router.service(VolumeService, options.volumes);
  router.service(SnapshotService, options.snapshots);
  router.service(GroupSnapshotService, options.groups);
  router.service(OperationService, operationService({ ...options.operations, stopping }));
  router.service(OrphanService, orphanService(options.orphans));
  router.service(PoolService, poolService(options.pools));
  const agents = agentService({ ...options.agents, stopping });
  router.rpc(AgentService.method.enrol, agents.enrol, strangers);
  router.rpc(AgentService.method.serve, agents.serve, { readMaxBytes: maxAgentMessageBytes });
  const names = new Set(described.map(({ typeName }) => typeName));
  router.service(health.Health, healthService(options.readiness, names, stopping), strangers);
  const reflection = new Reflection(described);
  router.service(reflectionV1.ServerReflection, {
    serverReflectionInfo: (requests) => reflection.serverReflectionInfo(requests),
  }, strangers);
  router.service(reflectionV1alpha.ServerReflection, {
    serverReflectionInfo: (requests) => reflection.serverReflectionInfoAlpha(requests),
  }, strangers);
}
