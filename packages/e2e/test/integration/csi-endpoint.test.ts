import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { createLogger } from "@zfsilo/lib";
import { parseFlags, startDriver } from "@zfsilo/csi";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasGo } from "../../../csi/test/go-program.ts";
import { startSystem, type System } from "../../src/api/system.ts";
import { csiClients, driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";
import { callFromGo } from "./go-caller.ts";

let system: System;
let driver: RunningDriver;
beforeAll(async () => {
  system = await startSystem();
  driver = await driverOf(system);
});
afterAll(async () => {
  await driver.stop();
  await system.stop();
});

const offered = {
  capabilities: [
    { service: { type: "CONTROLLER_SERVICE" } },
    { volumeExpansion: { type: "ONLINE" } },
    { volumeExpansion: { type: "OFFLINE" } },
    { service: { type: "GROUP_CONTROLLER_SERVICE" } },
  ],
};

/** A text with what URLs, gRPC and grpc-js each treat in their own way. */
const odd = "a:b, c/d?e 50% ü";
const refused = { name: odd, parameters: { [odd]: "1" }, volumeCapabilities: [{ mount: {}, accessMode: { mode: "SINGLE_NODE_WRITER" } }] };
const refusal = `parameters: unknown: ${odd}. docs/csi.md lists the parameters.`;

describe.runIf(hasGo())("called by grpc-go with the spec's own messages", () => {
  it("answers identity calls", { timeout: 300_000 }, async () => {
    const answers = await callFromGo(driver.socket, [
      { method: "Identity/GetPluginInfo", request: {} },
      { method: "Identity/GetPluginCapabilities", request: {} },
      { method: "Identity/Probe", request: {} },
    ]);
    expect(answers.map(({ code }) => code)).toEqual(["OK", "OK", "OK"]);
    expect(answers[0]!.responses[0]).toEqual({ name: "csi.zfsilo.io", vendorVersion: "0.1.0" });
    expect(answers[1]!.responses[0]).toMatchObject({ capabilities: expect.arrayContaining(offered.capabilities) });
    expect(answers[2]!.responses[0]).toEqual({ ready: true });
  });

  it("says why it refuses a call", { timeout: 300_000 }, async () => {
    const [answer] = await callFromGo(driver.socket, [{ method: "Controller/CreateVolume", request: refused }]);
    expect(answer).toMatchObject({ code: "InvalidArgument", message: refusal });
  });
});

type Call = (message: object, done: (error: grpc.ServiceError | null, answer: unknown) => void) => void;

/** A client of grpc-js for one service. */
function fromGrpcJs(address: string, service: "Identity" | "Controller"): { readonly call: (method: string, message: object) => Promise<unknown>; close(): void } {
  const protos = fileURLToPath(new URL("../../../../proto/", import.meta.url));
  const definition = loadSync("csi/v1/csi.proto", { includeDirs: [protos], enums: String });
  const loaded = grpc.loadPackageDefinition(definition) as unknown as { csi: { v1: Record<string, grpc.ServiceClientConstructor> } };
  const client = new loaded.csi.v1[service]!(address, grpc.credentials.createInsecure());
  return {
    call: (method, message) =>
      new Promise((resolve, reject) => {
        (client[method] as Call).call(client, message, (error, answer) => {
          if (error === null) resolve(answer);
          else reject(error);
        });
      }),
    close: () => { client.close(); },
  };
}

it("answers grpc-js, by either spelling of the socket's address", async () => {
  for (const address of [`unix:${driver.socket}`, `unix://${driver.socket}`]) {
    const client = fromGrpcJs(address, "Identity");
    expect(await client.call("probe", {})).toEqual({ ready: { value: true } });
    client.close();
  }
});

it("says to grpc-js why it refuses a call", async () => {
  const client = fromGrpcJs(`unix:${driver.socket}`, "Controller");
  await expect(client.call("createVolume", refused)).rejects.toMatchObject({ code: grpc.status.INVALID_ARGUMENT, details: refusal });
  client.close();
});

it("outlives a client that calls it by the socket's path", async () => {
  const session = http2.connect("http://localhost", { createConnection: () => net.connect(driver.socket) });
  const stream = session.request({
    ":method": "POST",
    ":path": "/csi.v1.Identity/Probe",
    ":authority": "%2Ftmp%2Fcsi.sock",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.end(Buffer.alloc(5));
  const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
  expect(headers[":status"]).toBe(200);
  session.destroy();
  expect((await driver.identity.probe({})).ready).toBe(true);
});

it("offers the same wherever it runs, whichever part of it that serves", async () => {
  const whole = await driver.identity.getPluginCapabilities({});
  for (const mode of ["node", "controller"] as const) {
    const part = await driverOf(system, { mode });
    expect((await part.identity.getPluginCapabilities({})).capabilities).toEqual(whole.capabilities);
    await part.stop();
  }
  expect(whole.capabilities.length).toBeGreaterThan(3);
});

it("lets nobody but its own user connect", () => {
  expect(statSync(driver.socket).mode & 0o777).toBe(0o600);
});

it("is alive and not ready without a control plane, and names nothing it cannot know", async () => {
  const directory = mkdtempSync(join(tmpdir(), "zfsilo-csi-"));
  const flags = [
    `--endpoint=unix://${join(directory, "alone.sock")}`,
    // The discard port: nobody listens.
    "--control-plane=http://127.0.0.1:9",
    `--token-file=${system.controlPlane.adminTokenFile}`,
    "--node-id=hst_take",
  ];
  const alone = await startDriver(parseFlags(flags), createLogger("silent"));
  const { identity } = csiClients(join(directory, "alone.sock"));
  expect((await identity.probe({})).ready).toBe(false);
  await expect(identity.getPluginCapabilities({})).rejects.toMatchObject({ rawMessage: expect.stringContaining("GetServerInfo") });
  await alone.stop();
  expect(existsSync(join(directory, "alone.sock"))).toBe(false);
  rmSync(directory, { recursive: true });
});

describe("a socket that is there already", () => {
  it("is taken away when its process was killed, and left when somebody answers", async () => {
    const directory = mkdtempSync(join(tmpdir(), "zfsilo-csi-"));
    const socket = join(directory, "csi.sock");
    const held = spawn(process.execPath, ["-e", `require("net").createServer().listen(${JSON.stringify(socket)}, () => console.log("up"))`]);
    await once(held.stdout, "data");
    const start = (): ReturnType<typeof startDriver> =>
      startDriver(
        parseFlags([
          `--endpoint=unix://${socket}`,
          `--control-plane=http://127.0.0.1:${system.controlPlane.address.port}`,
          `--token-file=${system.controlPlane.adminTokenFile}`,
          "--mode=controller",
        ]),
        createLogger("silent"),
      );
    await expect(start()).rejects.toThrow(`listen on ${socket}: another process does`);
    held.kill("SIGKILL");
    await once(held, "exit");
    expect(existsSync(socket)).toBe(true);
    await (await start()).stop();
    rmSync(directory, { recursive: true });
  });
});
