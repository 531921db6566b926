import { HostState } from "@zfsilo/api";
import { RecordingExecutor, type FileOperation } from "@zfsilo/command";
import { LioTarget, type ExportSpec } from "@zfsilo/host";
import { within } from "@zfsilo/lib";
import { GuestProgram, makeProgramDisk, mustExec, poolName, programs, type Machine, type Machines } from "@zfsilo/microvm";
import { setTimeout as sleep } from "node:timers/promises";
import { atMost } from "../findings.ts";
import { MachineLab } from "../machine-lab.ts";
import type { MachineMeasurement } from "../measurement.ts";
import { Samples } from "../sampling.ts";
import { startSystem, temporaryDirectory, type System } from "../system.ts";

const turns = 4;
const roundsPerTurn = 5;
const host = "hst_give_agent";
const script = "/var/tmp/bench.mjs";
const startLimitMs = 120_000;

/** An export made by the agent on give, next to the same file operations in one process there. */
export const publishAgent: MachineMeasurement = {
  name: "publish-agent",
  async run({ signal, progress }, machines) {
    await using lab = new MachineLab(machines, signal);
    const { o } = lab;
    await lab.lio.ensureModules(o);
    const spec = await lab.volume();
    await using directory = await temporaryDirectory();
    await using system = await startSystem({ dataDir: directory.path, hosts: [hostOf(machines)] });
    const disk = await makeProgramDisk();
    let program: GuestProgram | undefined;
    try {
      await disk.plugInto(machines.give);
      program = await startAgent(machines.give, system, signal);
      const recorder = new RecordingExecutor(await system.executor(host));
      const lio = new LioTarget(recorder);
      await install(machines.give, await batchesOf(recorder, lio, spec, signal));
      const samples = new Samples<"agent" | "one process">();
      for (let turn = 0; turn <= turns; turn += 1) {
        progress(`turn ${turn} of ${turns}`);
        for (let round = 0; round < roundsPerTurn; round += 1) {
          const began = performance.now();
          await lio.ensureExport(spec, o);
          // The first turn warms up.
          if (turn > 0) samples.add("agent", performance.now() - began);
          await lio.removeExport(spec, o);
        }
        const times = JSON.parse(await mustExec(machines.give, [programs.node, script], { signal })) as number[];
        if (turn > 0) for (const time of times) samples.add("one process", time);
      }
      return {
        measures: [
          { name: "export on give through its agent", unit: "ms", ...samples.summary("agent") },
          { name: "the same file operations in one process on give", unit: "ms", ...samples.summary("one process") },
        ],
        ratios: [atMost("export through an agent / the same in one process", samples.ratio("agent", "one process"), 3)],
      };
    } finally {
      await program?.remove();
      await disk.remove();
    }
  },
};

function hostOf({ give }: Machines): object {
  return { id: host, roles: ["target"], agent: {}, pools: [{ name: poolName }], portals: [{ address: give.storageAddress }] };
}

async function startAgent(machine: Machine, system: System, signal: AbortSignal): Promise<GuestProgram> {
  const name = `hosts/${host}`;
  const { secret } = await system.hosts.createJoinToken({ host: name }, { signal });
  const program = new GuestProgram(machine, {
    name: "zfsilo-agent",
    command: [programs.node, programs.agent],
    environment: { ZFSILO_CONTROL_PLANE: system.url, ZFSILO_JOIN_TOKEN: secret },
    tunnel: { ports: [Number(new URL(system.url).port)] },
  });
  await program.start();
  const limit = within(startLimitMs, signal);
  const online = async (): Promise<boolean> => (await system.hosts.getHost({ name }, { signal: limit })).host?.state === HostState.ONLINE;
  while (!(await online())) await sleep(200, undefined, { signal: limit });
  return program;
}

interface Batches {
  readonly make: readonly (readonly FileOperation[])[];
  readonly remove: readonly (readonly FileOperation[])[];
}

/** What an export does, what reads it back among it, and what its removal does: seen by doing both once. */
async function batchesOf(recorder: RecordingExecutor, lio: LioTarget, spec: ExportSpec, signal: AbortSignal): Promise<Batches> {
  const seen = async (work: Promise<unknown>): Promise<(readonly FileOperation[])[]> => {
    const before = recorder.calls.length;
    await work;
    return recorder.calls.slice(before).flatMap(({ operations }) => (operations === undefined ? [] : [operations]));
  };
  return { make: await seen(lio.ensureExport(spec, { signal })), remove: await seen(lio.removeExport(spec, { signal })) };
}

/** A program on the machine that prints how many milliseconds each of some exports took. */
async function install(machine: Machine, batches: Batches): Promise<void> {
  const text = `import { LocalExecutor } from "/opt/zfsilo/packages/command/dist/index.js";
const { make, remove } = ${JSON.stringify(batches)};
const executor = new LocalExecutor("here");
const { signal } = new AbortController();
const times = [];
for (let round = 0; round < ${roundsPerTurn + 1}; round += 1) {
  const began = performance.now();
  for (const batch of make) await executor.files(batch, { signal });
  times.push(performance.now() - began);
  for (const batch of remove) await executor.files(batch, { signal });
}
console.log(JSON.stringify(times.slice(1)));`;
  await mustExec(machine, ["sh", "-ec", `cat > ${script} <<'end of program'\n${text}\nend of program`]);
}
