import { startAgent, type AgentOptions, type RunningAgent } from "@zfsilo/agent";
import type { Executor } from "@zfsilo/command";
import { createLogger, Secret } from "@zfsilo/lib";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { runningService, type Json, type RunningService } from "../integration/running-service.ts";
import { cable, type Cable } from "./cuttable.ts";

/** A control plane whose hosts, simulated machines, are reached by agents alone. */
export interface AgentService extends AsyncDisposable {
  readonly service: RunningService;
  readonly cable: Cable;
  /** What agents have logged. */
  readonly lines: string[];
  /** Makes the simulated machine that an agent may act on. */
  machine(name: "give" | "take"): Executor;
  joinToken(request: object): Promise<string>;
  /** Started through the cable. `name` is the machine and its credential file. */
  agent(name: string, options?: Partial<AgentOptions> & { readonly token?: string }): RunningAgent;
  host(name: string): Promise<Json>;
  credentialFile(name: string): string;
}

export const agentHosts = [
  { id: "give", roles: ["target"], agent: {}, pools: [{ name: "tank" }], portals: [{ address: "192.0.2.1" }] },
  { id: "take", roles: ["initiator"], agent: {} },
];

export async function agentService(settings: object = {}): Promise<AgentService> {
  const service = await runningService({ hosts: agentHosts, ...settings });
  const line = await cable(() => service.plane.address.port);
  const directory = await mkdtemp(join(tmpdir(), "zfsilo-agents-"));
  const agents = new Set<RunningAgent>();
  const lines: string[] = [];
  const log = createLogger("debug", new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      if (process.env["ZFSILO_TEST_LOG"] !== undefined) process.stderr.write(chunk);
      done();
    },
  }));
  return {
    service,
    cable: line,
    lines,
    machine(name) {
      const { world } = service.plane;
      const target = { pools: [{ name: "tank", sizeBytes: 64n << 30n }], addresses: ["192.0.2.1"] };
      world.addMachine({ name, pools: [], addresses: [], initiatorName: `iqn.2026-01.io.zfsilo.sim:${name}`, ...(name === "give" && target) });
      return world.executor(name);
    },
    async joinToken(request) {
      return String((await service.call("HostService/CreateJoinToken", request))["secret"]);
    },
    agent(name, { token, ...options } = {}) {
      const agent = startAgent({
        controlPlane: `http://127.0.0.1:${line.port}`,
        credentialFile: join(directory, `${name}.json`),
        nodeName: name,
        log,
        firstPauseMs: 20,
        ...(token !== undefined && { joinToken: new Secret(token) }),
        ...options,
      });
      agents.add(agent);
      return agent;
    },
    async host(name) {
      return (await service.call("HostService/GetHost", { name: `hosts/${name}` }))["host"] as Json;
    },
    credentialFile: (name) => join(directory, `${name}.json`),
    async [Symbol.asyncDispose]() {
      await Promise.all([...agents].map((agent) => agent.stop()));
      await line[Symbol.asyncDispose]();
      await service[Symbol.asyncDispose]();
      await rm(directory, { recursive: true });
    },
  };
}

/** Polls, since what an agent does shows in its own time. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1_000; tries += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never: ${what}`);
}
