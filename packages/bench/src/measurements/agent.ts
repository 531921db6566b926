import { LocalExecutor, type Executor } from "@zfsilo/command";
import { setTimeout as sleep } from "node:timers/promises";
import { startAgentProcess } from "../agent-process.ts";
import { atMost } from "../findings.ts";
import type { Measurement } from "../measurement.ts";
import { sampleRounds } from "../sampling.ts";
import { startSystem, temporaryDirectory } from "../system.ts";

/** Long enough for three heartbeats. */
const idleSeconds = 30;

/** What an agent adds to a command, and what it costs its host. */
export const agent: Measurement = {
  name: "agent",
  async run({ signal, progress }) {
    await using directory = await temporaryDirectory();
    const host = "hst_agent";
    await using system = await startSystem({ dataDir: directory.path, hosts: [{ id: host, roles: ["initiator"], agent: {} }] });
    await using agentProcess = await startAgentProcess(system, `hosts/${host}`, directory.path, signal);
    const through = await system.executor(host);
    const local = new LocalExecutor(host);
    // The smallest command that an agent runs.
    const run = (executor: Executor) => () => executor.run(["date", "+%s.%N"], { signal });
    progress("a command here and through the agent, in turns");
    const samples = await sampleRounds(
      () => [
        ["local", run(local)],
        ["agent", run(through)],
      ],
      { warmUp: 100, rounds: 500, signal },
    );
    progress(`the agent at rest, for ${idleSeconds} s`);
    const before = await agentProcess.processorSeconds();
    await sleep(idleSeconds * 1000, undefined, { signal });
    const busy = ((await agentProcess.processorSeconds()) - before) / idleSeconds;
    const resident = (await agentProcess.residentBytes()) / 1e6;
    const over = samples.summary("agent").median - samples.summary("local").median;
    return {
      measures: [
        { name: "command, local", unit: "ms", ...samples.summary("local") },
        { name: "command, through an agent", unit: "ms", ...samples.summary("agent") },
      ],
      ratios: [
        atMost("command through an agent, over local", over, 2, "ms"),
        atMost("agent, resident after 600 commands", resident, 80, "MB"),
        atMost("agent at rest, of one processor", busy * 100, 1, "%"),
      ],
    };
  },
};
