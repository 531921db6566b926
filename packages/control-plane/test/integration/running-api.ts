import { createLogger, type Logger } from "@zfsilo/lib";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Writable } from "node:stream";
import { Metrics } from "../../src/metrics.ts";
import { AgentRegistry } from "../../src/machines/agent/agent-registry.ts";
import { enrol } from "../../src/machines/agent/enrolment.ts";
import { apiServer, type ApiOptions } from "../../src/rpc/api.ts";
import { formatListenAddress } from "../../src/rpc/listen-address.ts";
import type { HostProbe, PoolReader } from "../../src/rpc/ports.ts";
import { Readiness } from "../../src/rpc/readiness.ts";
import type { RpcServer } from "../../src/rpc/server.ts";
import { loadAdminToken, Tokens } from "../../src/rpc/tokens.ts";
import { createSecretKey } from "../../src/secret-key.ts";
import { openStores, type Stores } from "../../src/store/open-stores.ts";

export interface RunningApi extends AsyncDisposable {
  readonly url: string;
  readonly address: string;
  readonly token: string;
  readonly stores: Stores;
  readonly readiness: Readiness;
  readonly server: RpcServer;
  /** Log lines, parsed. */
  readonly lines: Record<string, unknown>[];
  readonly watchers: Set<() => void>;
  /** What the ports answer; a test sets what it wants. */
  readonly ports: { probe: HostProbe; pools: PoolReader };
}

/** The real server on a port of the system's choice, over a real database file; only machines are missing. */
export async function runningApi(
  volumes: ApiOptions["volumes"] = {} as ApiOptions["volumes"],
  port: Pick<ApiOptions, "limits" | "messageTimeoutMs"> = {},
): Promise<RunningApi> {
  const dataDir = join(await mkdtemp(join(tmpdir(), "zfsilo-api-")), "data");
  await mkdir(dataDir, { mode: 0o700 });
  const lines: Record<string, unknown>[] = [];
  const log = capturing(lines);
  const stores = await openStores({
    file: join(dataDir, "zfsilo.db"),
    key: await createSecretKey(dataDir),
    log,
  });
  const admin = await loadAdminToken(dataDir);
  const readiness = new Readiness();
  const watchers = new Set<() => void>();
  const ports: RunningApi["ports"] = {
    probe: { check: () => Promise.resolve([]) },
    pools: { look: () => Promise.resolve([]), status: () => Promise.reject(new Error("no pool has a status here")) },
  };
  const pools: PoolReader = {
    look: (host, only, signal) => ports.pools.look(host, only, signal),
    status: (host, pool, signal) => ports.pools.status(host, pool, signal),
  };
  const metrics = new Metrics({
    logLinesLost: () => 0,
    volumesByStatus: () => stores.volumes.countByStatus(),
    volumesByCondition: () => stores.volumes.countByCondition(),
    hostsByCondition: () => Promise.resolve({}),
    openOperations: async () => ({ running: (await stores.operations.listOpen()).length }),
    pools: () => Promise.resolve([{ host: "hst_give", pool: "tank", sizeBytes: 64n, freeBytes: 32n }]),
  });
  const { hosts, joinTokens } = stores;
  const registry = new AgentRegistry({ agents: stores.agents, hosts, log, answers: { seen: () => undefined }, onAttached: () => undefined });
  const server = apiServer({
    log,
    tokens: new Tokens([admin.known]),
    readiness,
    calls: metrics,
    limited: (limit) => { metrics.portLimit(limit); },
    ...port,
    metrics: () => metrics.collect(),
    service: {
      hosts: stores.hosts,
      volumes: stores.volumes,
      pools,
      log,
      version: "0.1.0",
      clusterId: "test",
      features: ["iscsi"],
    },
    hosts: {
      hosts,
      volumes: stores.volumes,
      evict: () => Promise.resolve(),
      probe: { check: (host, signal) => ports.probe.check(host, signal) },
      joinTokens,
      agents: {
        view: (host) => ({ agent: registry.view(host) }),
        rotate: (host, signal) => registry.rotate(host, signal),
        revoke: (host) => registry.revoke(host),
      },
      observer: { hostChanged: (host) => { registry.hostChanged(host); }, hostRemoved: ({ id }) => { registry.hostRemoved(id); } },
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
    operations: {
      operations: stores.operations,
      watch: {
        subscribe: (_id, listener) => {
          watchers.add(listener);
          return () => watchers.delete(listener);
        },
        progressOf: () => undefined,
      },
    },
    volumes,
    snapshots: {} as ApiOptions["snapshots"],
    groups: {} as ApiOptions["groups"],
    pools: { hosts: stores.hosts, volumes: stores.volumes, pools, log },
    orphans: { hosts: stores.hosts, orphans: {} as ApiOptions["orphans"]["orphans"] },
  });
  const address = formatListenAddress(await server.start({ host: "127.0.0.1", port: 0 }));
  readiness.set(true);
  return {
    url: `http://${address}`,
    address,
    token: (await readFile(admin.file, "utf8")).trim(),
    stores,
    readiness,
    server,
    lines,
    watchers,
    ports,
    async [Symbol.asyncDispose]() {
      await server.stop(1_000);
      await registry[Symbol.asyncDispose]();
      await stores.close();
      await rm(dirname(dataDir), { recursive: true });
    },
  };
}

function capturing(lines: Record<string, unknown>[]): Logger {
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  return createLogger("debug", stream);
}

export interface JsonAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** A Connect call as curl makes it. */
export async function callJson(api: RunningApi, method: string, message: object, headers: Record<string, string> = {}): Promise<JsonAnswer> {
  const response = await fetch(`${api.url}/zfsilo.v1.${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${api.token}`, ...headers },
    body: JSON.stringify(message),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Record<string, unknown> };
}
