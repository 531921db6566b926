import { createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { startAgent } from "@zfsilo/agent";
import { HostService, OperationService } from "@zfsilo/api";
import { createLogger, Secret } from "@zfsilo/lib";
import { mkdir, mkdtemp, readFile, rename, rm, symlink } from "node:fs/promises";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { startControlPlane, type ControlPlane } from "../../src/control-plane.ts";
import { TlsIdentity } from "../../src/rpc/tls.ts";
import { until } from "../agent/agent-service.ts";
import { authority } from "../agent/certificates.ts";

const log = createLogger("silent");
let directory: string;
let ca: Awaited<ReturnType<typeof authority>>;
let other: Awaited<ReturnType<typeof authority>>;
let server: { readonly certFile: string; readonly keyFile: string };
let client: { readonly certFile: string; readonly keyFile: string };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-tls-"));
  [ca, other] = [await authority(directory, "ca"), await authority(directory, "other")];
  [server, client] = [await ca.issue("server"), await ca.issue("client")];
});
afterAll(() => rm(directory, { recursive: true }));

async function started(environment: Record<string, string>, listen = "127.0.0.1:0"): Promise<ControlPlane & AsyncDisposable> {
  const dataDir = await mkdtemp(join(directory, "data-"));
  const hosts = [{ id: "give", roles: ["target"], agent: {}, pools: [{ name: "tank" }], portals: [{ address: "192.0.2.1" }] }];
  const text = JSON.stringify({ hosts, reconcile: { intervalSeconds: 0 } });
  const config = parseConfig({ ZFSILO_DATA_DIR: dataDir, ZFSILO_LISTEN: listen, ...environment }, { name: "test.json", text });
  const plane = await startControlPlane({ config, log, secretKey: undefined, sshAgentSocket: undefined });
  return { ...plane, [Symbol.asyncDispose]: () => plane.stop() };
}

const overTls = () => ({ ZFSILO_TLS_CERT_FILE: server.certFile, ZFSILO_TLS_KEY_FILE: server.keyFile });
const withClients = () => ({ ...overTls(), ZFSILO_TLS_CLIENT_CA_FILE: ca.caFile });

async function transports(plane: ControlPlane, files: { readonly certFile?: string; readonly keyFile?: string } = {}) {
  const token = (await readFile(plane.adminTokenFile, "utf8")).trim();
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const nodeOptions = {
    ca: await readFile(ca.caFile),
    ...(files.certFile !== undefined && { cert: await readFile(files.certFile) }),
    ...(files.keyFile !== undefined && { key: await readFile(files.keyFile) }),
  };
  const common = { baseUrl: `https://127.0.0.1:${plane.address.port}`, nodeOptions, interceptors: [authorize] };
  return {
    gRPC: createGrpcTransport(common),
    "gRPC-Web over HTTP/1.1": createGrpcWebTransport({ ...common, httpVersion: "1.1" }),
    "gRPC-Web over HTTP/2": createGrpcWebTransport({ ...common, httpVersion: "2" }),
    "Connect over HTTP/1.1": createConnectTransport({ ...common, httpVersion: "1.1" }),
    "Connect over HTTP/2": createConnectTransport({ ...common, httpVersion: "2" }),
  };
}

/** Over a connection of its own. */
function get(plane: ControlPlane, path: string, options: https.RequestOptions = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = https.get({ host: "127.0.0.1", port: plane.address.port, path, agent: false, ...options }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", reject);
  });
}

function serial(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

describe("over TLS", () => {
  it("every protocol works", async () => {
    await using plane = await started(overTls());
    for (const [name, transport] of Object.entries(await transports(plane))) {
      const { hosts } = await createClient(HostService, transport).listHosts({});
      expect(hosts.map((host) => host.name), name).toEqual(["hosts/give"]);
      const failure = createClient(OperationService, transport).getOperation({ name: "operations/op_none" });
      await expect(failure, name).rejects.toMatchObject({ rawMessage: expect.stringContaining("operations/op_none") as string });
    }
  });

  it("plain text is not answered, and garbage harms nobody", async () => {
    await using plane = await started(overTls());
    await expect(fetch(`http://127.0.0.1:${plane.address.port}/healthz`)).rejects.toThrow();
    expect(await get(plane, "/healthz", { ca: await readFile(ca.caFile) })).toBe(200);
  });

  it("a caller that trusts another authority does not connect", async () => {
    await using plane = await started(overTls());
    await expect(get(plane, "/healthz", { ca: await readFile(other.caFile) })).rejects.toThrow(/self-signed|unable to verify|certificate/);
  });

  it("an agent serves, and one that trusts another authority does not", async () => {
    await using plane = await started(overTls());
    const hosts = createClient(HostService, (await transports(plane)).gRPC);
    const common = { controlPlane: `https://127.0.0.1:${plane.address.port}`, log, firstPauseMs: 20 };
    const wary = startAgent({ ...common, credentialFile: join(directory, "wary.json"), joinToken: new Secret("zj_none"), tls: { caFile: other.caFile } });
    const { secret } = await hosts.createJoinToken({ host: "hosts/give" });
    const agent = startAgent({ ...common, credentialFile: join(directory, "agent.json"), joinToken: new Secret(secret), tls: { caFile: ca.caFile } });
    await until("the agent is connected", () => agent.connected);
    expect(wary.connected).toBe(false);
    await Promise.all([agent.stop(), wary.stop()]);
  });
});

describe("client certificates", () => {
  it("are asked of every call but the probes", async () => {
    await using plane = await started(withClients());
    for (const [name, transport] of Object.entries(await transports(plane, client))) {
      expect((await createClient(HostService, transport).listHosts({})).hosts, name).toHaveLength(1);
    }
    for (const [name, transport] of Object.entries(await transports(plane))) {
      await expect(createClient(HostService, transport).listHosts({}), name).rejects.toMatchObject({ code: 16 });
    }
    const trusting = { ca: await readFile(ca.caFile) };
    expect(await get(plane, "/healthz", trusting)).toBe(200);
    expect(await get(plane, "/metrics", trusting)).toBe(401);
    expect(await get(plane, "/metrics", { ...trusting, cert: await readFile(client.certFile), key: await readFile(client.keyFile) })).toBe(200);
  });

  it("of another authority count as none", async () => {
    await using plane = await started(withClients());
    const stranger = await other.issue("stranger");
    await expect(createClient(HostService, (await transports(plane, stranger)).gRPC).listHosts({})).rejects.toMatchObject({ code: 16 });
  });
});

describe("a changed certificate", () => {
  it("is used from the next connection on, as Kubernetes changes it, and a bad one is not", async () => {
    const [mount, first, second, third] = ["mount", "v1", "v2", "v3"].map((name) => join(directory, name));
    for (const [name, issued] of [[first!, server], [second!, await ca.issue("second")]] as const) {
      await mkdir(name);
      await rename(issued.certFile, join(name, "tls.crt"));
      await rename(issued.keyFile, join(name, "tls.key"));
    }
    const swap = async (to: string): Promise<void> => {
      await symlink(to, `${mount!}.new`);
      await rename(`${mount!}.new`, mount!);
    };
    await swap(first!);
    const files = { certFile: join(mount!, "tls.crt"), keyFile: join(mount!, "tls.key"), clientCaFile: undefined };
    using identity = await TlsIdentity.load(files, log, 20);
    const listener = tls.createServer(identity.options).listen(0, "127.0.0.1");
    await new Promise((resolve) => listener.once("listening", resolve));
    identity.onChange((options) => { listener.setSecureContext(options); });
    const { port } = listener.address() as { port: number };
    const before = await serial(port);
    await swap(second!);
    await until("the new one is shown", async () => (await serial(port)) !== before);
    const after = await serial(port);
    await mkdir(third!);
    await swap(third!);
    await identity.look();
    expect(await serial(port)).toBe(after);
    listener.close();
    server = await ca.issue("server");
  });
});

describe("starting", () => {
  it.each(["0.0.0.0:0", ":0", "[::]:0"])("is refused on %s in plain text, with what to do", async (listen) => {
    await expect(started({}, listen)).rejects.toMatchObject({ reason: "precondition", hint: expect.stringContaining("ZFSILO_TLS_CERT_FILE") as string });
  });

  it("is refused with half of a pair, and with a key of another certificate", async () => {
    expect(() => parseConfig({ ZFSILO_TLS_CERT_FILE: "/x" }, undefined)).toThrow("ZFSILO_TLS_KEY_FILE");
    await expect(started({ ...overTls(), ZFSILO_TLS_KEY_FILE: client.keyFile })).rejects.toMatchObject({ reason: "precondition" });
    await expect(started({ ...overTls(), ZFSILO_TLS_CERT_FILE: "/nonexistent" })).rejects.toMatchObject({ message: "read /nonexistent" });
  });
});
