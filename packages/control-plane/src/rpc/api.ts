import type { ConnectRouter, Interceptor, ServiceImpl } from "@connectrpc/connect";
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
import { healthService } from "./health.ts";
import { hostService, type HostServiceDeps } from "./host-service.ts";
import { httpRoutes, type HttpRoutes } from "./http-routes.ts";
import { authInterceptor } from "./interceptors/auth.ts";
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
  // The first one is the outermost.
  const interceptors: readonly Interceptor[] = [callInterceptor(log, options.calls), authInterceptor(tokens)];
  return new RpcServer({
    log,
    tls: options.tls,
    interceptors,
    otherwise: httpRoutes({ readiness, metrics: options.metrics }),
    unread: (method, seconds) => {
      log.info({ rpc: method, ms: Math.round(seconds * 1000) }, "call ended before its message could be read");
      options.calls.ended(method, "unread", seconds);
    },
    routes: (router, stopping) => {
      addServices(router, options, stopping);
    },
  });
}

function addServices(router: ConnectRouter, options: ApiOptions, stopping: AbortSignal): void {
  router.service(Service, service(options.service));
  router.service(HostService, hostService(options.hosts));
  router.service(VolumeService, options.volumes);
  router.service(SnapshotService, options.snapshots);
  router.service(GroupSnapshotService, options.groups);
  router.service(OperationService, operationService({ ...options.operations, stopping }));
  router.service(OrphanService, orphanService(options.orphans));
  router.service(PoolService, poolService(options.pools));
  router.service(AgentService, agentService({ ...options.agents, stopping }));
  const names = new Set(described.map(({ typeName }) => typeName));
  router.service(health.Health, healthService(options.readiness, names, stopping));
  const reflection = new Reflection(described);
  router.service(reflectionV1.ServerReflection, {
    serverReflectionInfo: (requests) => reflection.serverReflectionInfo(requests),
  });
  router.service(reflectionV1alpha.ServerReflection, {
    serverReflectionInfo: (requests) => reflection.serverReflectionInfoAlpha(requests),
  });
}
