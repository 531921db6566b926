import type { Executor } from "@zfsilo/command";
import { errorChain, KeyedMutex, newId, parseHostId, standardError, type Logger, type LogOutput, type StorageError } from "@zfsilo/lib";
import { SimWorld } from "@zfsilo/sim-host";
import type { OperationState, RunnerObserver } from "@zfsilo/try";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "./config.ts";
import { databaseName, prepareDataDirectory } from "./data-directory.ts";
import { seedHosts } from "./host/seed-hosts.ts";
import { isSimulated } from "./host/simulated.ts";
import { AgentRegistry } from "./machines/agent/agent-registry.ts";
import { enrol } from "./machines/agent/enrolment.ts";
import { connectHost, simulate } from "./machines/connect.ts";
import { lookAt } from "./machines/look.ts";
import { Machines } from "./machines/machines.ts";
import { PoolProbe } from "./machines/pool-probe.ts";
import { HostPresence } from "./machines/presence.ts";
import { HostProbes } from "./machines/probes.ts";
import { startMaintenance } from "./maintenance.ts";
import { Metrics, type MetricSources } from "./metrics.ts";
import { Lanes } from "./operation/lanes.ts";
import { Operations } from "./operation/operations.ts";
import { requireCurrentSubject } from "./reconcile/current.ts";
import { HostWatch } from "./reconcile/host-watch.ts";
import { ReconcileLoop } from "./reconcile/loop.ts";
import { Orphans } from "./reconcile/orphans.ts";
import { Reconciler } from "./reconcile/reconciler.ts";
import { apiServer } from "./rpc/api.ts";
import { connectionLimit } from "./rpc/connection-limit.ts";
import { groupSnapshotService } from "./rpc/group-snapshot-service.ts";
import { isLoopback, parseListenAddress, refusePlaintext, type ListenAddress } from "./rpc/listen-address.ts";
import { Readiness } from "./rpc/readiness.ts";
import { snapshotService } from "./rpc/snapshot-service.ts";
import { TlsIdentity } from "./rpc/tls.ts";
import { TokenWatch, type TokenSource } from "./rpc/token-watch.ts";
import { loadAdminToken, readAdminToken, Tokens, type AdminToken, type KnownToken } from "./rpc/tokens.ts";
import { volumeService } from "./rpc/volume-service.ts";
import { createSecretKey, findSecretKey } from "./secret-key.ts";
import { openStores, type Stores } from "./store/open-stores.ts";
import type { OperationStore } from "./store/stores.ts";
import { evictHost } from "./volume/evict-host.ts";
import { Placer } from "./volume/placer.ts";
import type { RequestDeps } from "./volume/volume-requests.ts";
import type { WorkflowDeps } from "./workflow/deps.ts";
import { CurrentRecords } from "./workflow/generation.ts";
import { KeyRing } from "./workflow/key-ring.ts";
import { workflows } from "./workflow/workflows.ts";

export const version = "0.1.0";
const features = [
  ...["iscsi", "chap", "mutual-chap", "online-expansion", "raw-block", "shared-raw-block", "operations", "pools", "placement"],
  ...["snapshots", "group-snapshots", "clones", "changed-ranges", "encryption"],
];

export interface ControlPlaneOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Where the log goes, for metrics and readiness. Default: standard error. */
  readonly logOutput?: Pick<LogOutput, "linesLost" | "problem">;
  /** ZFSILO_SECRET_KEY. */
  readonly secretKey: string | undefined;
  /** SSH_AUTH_SOCK. */
  readonly sshAgentSocket: string | undefined;
  /** Reads the tokens of the configuration again. Without it they stay as they are. */
  readonly readTokens?: () => Promise<readonly KnownToken[]>;
  /** Another control plane has taken over the database: this one must end. */
  readonly onLeaseLost?: (error: StorageError) => void;
  /** Puts something around the journal, for tests that end the process at one of its writes. */
  readonly aroundJournal?: (journal: OperationStore) => OperationStore;
}

export interface ControlPlane {
  readonly address: ListenAddress;
  readonly adminTokenFile: string;
  /** Ids of the hosts that were simulated at the start. */
  readonly simulatedHosts: readonly string[];
  /** The simulated machines, for tests that look at them or break them. */
  readonly world: SimWorld;
  /** What acts on a host by its id, for tests and measurements of the way there alone. */
  executor(host: string): Promise<Executor>;
  /** Takes no more calls, lets operations reach a step boundary, and lets go of everything, within 9 s. */
  stop(): Promise<void>;
}

/** Puts the parts together. Nothing here decides anything. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { config, log, logOutput = standardError } = options;
  const listen = parseListenAddress(config.listen, "ZFSILO_LISTEN");
  const tls = config.tls && (await TlsIdentity.load(config.tls, log));
  if (tls === undefined && !config.allowPlaintext && !isLoopback(listen)) throw refusePlaintext(listen);
  const { dataDir } = config;
  await prepareDataDirectory(dataDir, { newInstallation: config.newInstallation, log });
  const key = await findSecretKey({ fromEnvironment: options.secretKey, dataDir });
  const readiness: Readiness = new Readiness({
    databaseProblem: () => describeProblem(stores.problem()),
    log: logOutput,
    async openOperations() {
      const open = await stores.operations.listOpen();
      return { open: open.length, stuck: open.filter(({ state }) => state === "stuck").length };
    },
  });
  const onLost = (error: StorageError): void => {
    readiness.set(false);
    options.onLeaseLost?.(error);
  };
  const lease = { wait: config.waitForLease, onLost };
  const stores: Stores = await openStores({ file: join(dataDir, databaseName), key: key ?? (() => createSecretKey(dataDir)), log, lease });
  const clusterId = await stores.settings.choose("cluster_id", config.clusterId ?? newId("operation").slice("op_".length));
  const admin = await adminToken(stores, dataDir);
  const world = await SimWorld.open({ file: join(dataDir, "simulated-hosts.jsonl") });

  const { sshAgentSocket } = options;
  const { hosts, volumes, snapshots, groups, agents, joinTokens, leftovers } = stores;
  const machines: Machines = new Machines(hosts, (host) =>
    connectHost(host, { world, sshAgentSocket, observer: metrics, agents: registry.hub, answers: presence }),
  );
  const probes = new HostProbes({ machines, hosts, volumes, iqnPrefix: config.iqnPrefix });
  const pools = new PoolProbe(machines);
  const metrics = new Metrics(metricSources(stores, pools, logOutput));
  const deps: WorkflowDeps = { volumes, snapshots, groups, hosts, leftovers, machines, clusterId, turns: new KeyedMutex(), keys: new KeyRing(), current: new CurrentRecords() };
  const store = options.aroundJournal?.(stores.operations) ?? stores.operations;
  const operations = new Operations({
    store,
    deps,
    log,
    observer: observe(metrics),
    workflows,
    mayFinish: ({ subject }) => requireCurrentSubject(deps, subject),
  });
  const placer = new Placer({ hosts, volumes, pools });
  const requests: RequestDeps = { ...deps, operations, placer, lanes: new Lanes(), iqnPrefix: config.iqnPrefix, keyRoots: config.keyRoots };
  const reconciler = new Reconciler({ ...deps, operations, log, repairs: metrics, looks: metrics });
  const intervalMs = config.reconcile.intervalSeconds * 1000;
  const reconcile: ReconcileLoop = new ReconcileLoop({ reconciler, intervalMs, log, observer: metrics });
  const watch: HostWatch = new HostWatch({ hosts, machines, onBack: () => { reconcile.request(); }, probeEveryMs: hostProbeMs });
  const presence = new HostPresence(watch);
  const registry = new AgentRegistry({ agents, hosts, log, answers: presence, onAttached: () => { reconcile.request(); } });
  await registry.load();
  await operations.load();
  await seedHosts(hosts, config.hosts);
  const simulatedHosts = (await hosts.all()).filter(isSimulated).map(({ id }) => id);
  if (simulatedHosts.length > 0) log.info({ hosts: simulatedHosts }, `${simulatedHosts.length} simulated hosts: what is stored there is lost`);

  const tokens = new Tokens([admin.known, ...config.tokens]);
  const tokenWatch = new TokenWatch(tokens, tokenSources(options, admin), log);

  const server = apiServer({
    tls,
    log,
    readiness,
    tokens,
    calls: metrics,
    limits: { connections: await connectionLimit() },
    limited: (limit) => { metrics.portLimit(limit); },
    metrics: () => metrics.collect(),
    service: { hosts, volumes, pools, log, version, clusterId, features },
    pools: { hosts, volumes, pools, log },
    hosts: {
      hosts,
      volumes,
      evict: (host) => evictHost(requests, host),
      probe: probes,
      joinTokens,
      agents: {
        view: (host) => ({ seen: presence.of(host), agent: registry.view(host) }),
        rotate: (host, signal) => registry.rotate(host, signal),
        revoke: (host) => registry.revoke(host),
      },
      observer: {
        hostChanged: (host) => {
          machines.hostChanged(host);
          if (host.connection.kind === "simulated") simulate(host, world);
          registry.hostChanged(host);
          // A quota of its pools may be another one.
          reconcile.request();
        },
        hostRemoved: (host) => {
          machines.hostRemoved(host);
          registry.hostRemoved(host.id);
          presence.hostRemoved(host.id);
        },
      },
    },
    agents: {
      hub: registry.hub,
      log,
      admission: {
        admit: (authorization) => registry.admit(authorization),
        enrol: (request) => enrol({ hosts, joinTokens, registry, log }, request),
        mismatched: (host, said) => { registry.mismatched(host, said); },
        received: (host, link, message) => registry.received(host, link, message),
      },
    },
    operations: { operations: stores.operations, watch: operations },
    volumes: volumeService({ ...requests, reconciler }),
    snapshots: snapshotService(requests),
    groups: groupSnapshotService(requests),
    orphans: { hosts, orphans: new Orphans(requests) },
  });
  const address = await server.start(listen);
  const maintenance = startMaintenance({
    retryEveryMs: 30_000,
    retryUnfinished: () => operations.retryUnfinished(),
    operations: stores.operations,
    joinTokens,
    retentionDays: config.operations.retentionDays,
    log,
    readiness,
  });
  readiness.set(true);
  reconcile.start();

  return {
    address,
    adminTokenFile: admin.file,
    simulatedHosts,
    world,
    async executor(host) {
      return (await machines.get(parseHostId(host))).executor;
    },
    async stop() {
      readiness.set(false);
      maintenance[Symbol.dispose]();
      watch[Symbol.dispose]();
      tls?.[Symbol.dispose]();
      tokenWatch[Symbol.dispose]();
      const reconciled = reconcile.stop();
      await Promise.all([operations.stop(AbortSignal.timeout(6_000)), server.stop(7_000)]);
      await machines.close();
      await registry[Symbol.asyncDispose]();
      await Promise.race([reconciled, sleep(1_000)]);
      await stores.close();
      await world.close();
    },
  };
}

function tokenSources({ config, readTokens }: ControlPlaneOptions, { file, known }: AdminToken): TokenSource[] {
  return [
    { name: file, known: [known], read: async () => [await readAdminToken(file)] },
    { name: "configuration", known: config.tokens, read: readTokens ?? (() => Promise.resolve(config.tokens)) },
  ];
}

/** After the database, so that a start that is refused for that leaves no token behind. */
async function adminToken(stores: Stores, dataDir: string): Promise<AdminToken> {
  try {
    return await loadAdminToken(dataDir);
  } catch (error) {
    await stores.close();
    throw error;
  }
}

/** Without the file's name: the readiness page is open to all. */
function describeProblem(problem: StorageError | undefined): string | undefined {
  return problem && `${errorChain(problem.cause)}. ${problem.hint ?? ""}`.trim();
}

/** How often a host that does not answer is asked again. */
const hostProbeMs = 5_000;

/** What the runner tells, as counters. */
function observe(metrics: Metrics): RunnerObserver {
  return {
    changed: () => undefined,
    stepEnded: ({ kind }, { name }, how) => {
      metrics.step(kind, name, how);
    },
  };
}

/** A host that does not answer must not hold up a scrape. */
const scrapeLimitMs = 5_000;

function metricSources({ volumes, hosts, operations }: Stores, pools: PoolProbe, logOutput: Pick<LogOutput, "linesLost">): MetricSources {
  return {
    logLinesLost: () => logOutput.linesLost,
    volumesByStatus: () => volumes.countByStatus(),
    volumesByCondition: () => volumes.countByCondition(),
    async hostsByCondition() {
      const counts: Record<string, number> = {};
      for (const { condition } of await hosts.all()) if (condition !== undefined) counts[condition.reason] = (counts[condition.reason] ?? 0) + 1;
      return counts;
    },
    async openOperations() {
      const counts: Partial<Record<OperationState, number>> = {};
      for (const { state } of await operations.listOpen()) counts[state] = (counts[state] ?? 0) + 1;
      return counts;
    },
    async pools() {
      const targets = (await hosts.all()).filter(({ roles }) => roles.includes("target"));
      const spaces = await Promise.allSettled(
        targets.map(async (host) => {
          const forEver = new AbortController().signal;
          const found = await lookAt(host.id, forEver, ({ signal }) => pools.look(host, undefined, signal), scrapeLimitMs);
          return found.flatMap(({ name, facts, spaces }) => {
            const freeBytes = spaces.get(name)?.availableBytes ?? 0n;
            return facts === undefined ? [] : [{ host: host.id, pool: name, sizeBytes: facts.sizeBytes, freeBytes }];
          });
        }),
      );
      return spaces.flatMap((space) => (space.status === "fulfilled" ? space.value : []));
    },
  };
}
