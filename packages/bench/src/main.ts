import { errorChain, StorageError } from "@zfsilo/lib";
import { bringUp } from "@zfsilo/microvm";
import { writeFile } from "node:fs/promises";
import { availableParallelism, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { merge, type Findings } from "./findings.ts";
import type { Bench, MachineMeasurement, Measurement } from "./measurement.ts";
import { agent } from "./measurements/agent.ts";
import { bursts } from "./measurements/bursts.ts";
import { changes } from "./measurements/changes.ts";
import { connectMachines } from "./measurements/connect-machines.ts";
import { createByCsi } from "./measurements/create-by-csi.ts";
import { lists, snapshotLists } from "./measurements/lists.ts";
import { memory } from "./measurements/memory.ts";
import { publishAgent } from "./measurements/publish-agent.ts";
import { publishMachines } from "./measurements/publish-machines.ts";
import { reads } from "./measurements/reads.ts";
import { snapshotsMachines } from "./measurements/snapshots-machines.ts";
import { restart } from "./measurements/restart.ts";
import { targets } from "./measurements/targets.ts";
import { stageMachines } from "./measurements/stage-machines.ts";
import { throughput } from "./measurements/throughput.ts";
import { toJson, toTables } from "./report.ts";

const measurements: readonly Measurement[] = [reads, changes, createByCsi, throughput, bursts, lists, snapshotLists, targets, restart, memory, agent];
const machineMeasurements: readonly MachineMeasurement[] = [publishMachines, publishAgent, connectMachines, stageMachines, snapshotsMachines];

const usage = `Measures zfsilo, as ratios within one run.

  npm run bench -- [--only NAME] [--microvm] [--json FILE] [--check]

  --only NAME   one measurement, or several with commas: ${measurements.map(({ name }) => name).join(", ")};
                on give and take: ${machineMeasurements.map(({ name }) => name).join(", ")}
  --microvm     also those on give and take
  --json FILE   writes {"ratios": [...], "measures": [...]}
  --check       exit 1 when a ratio misses its limit
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      microvm: { type: "boolean", default: false },
      json: { type: "string" },
      check: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const interrupt = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => {
      interrupt.abort(new Error(`stopped by ${name}`));
    });
  }
  const wanted = choose(values.only);
  const found: Findings[] = [];
  for (const measurement of measurements) {
    if (!wanted(measurement, true)) continue;
    found.push(await measurement.run(benchFor(measurement.name, interrupt.signal)));
    globalThis.gc?.();
  }
  const onMachines = machineMeasurements.filter((measurement) => wanted(measurement, values.microvm));
  if (onMachines.length > 0) found.push(...(await runOnMachines(onMachines, interrupt.signal)));
  const findings = merge(found);
  process.stdout.write(toTables(findings));
  warnWhenBusy();
  if (values.json !== undefined) await writeFile(values.json, toJson(findings));
  return values.check && findings.ratios.some(({ ok }) => !ok) ? 1 : 0;
}

/** What `--only` names, or without it what runs by default. */
function choose(only: string | undefined): (measurement: { readonly name: string }, byDefault: boolean) => boolean {
  if (only === undefined) return (_measurement, byDefault) => byDefault;
  const names = new Set(only.split(","));
  const known = [...measurements, ...machineMeasurements].map(({ name }) => name);
  for (const name of names) {
    if (known.includes(name)) continue;
    throw new StorageError("invalid_argument", `--only ${name}`, { hint: `Known: ${known.join(", ")}.` });
  }
  return ({ name }) => names.has(name);
}

async function runOnMachines(chosen: readonly MachineMeasurement[], signal: AbortSignal): Promise<Findings[]> {
  const found: Findings[] = [];
  const { progress } = benchFor("machines", signal);
  const machines = await bringUp({ instance: `bench-${process.pid}`, signal, log: progress });
  try {
    for (const measurement of chosen) found.push(await measurement.run(benchFor(measurement.name, signal), machines));
  } finally {
    await machines.stop();
  }
  return found;
}

/** Our own work is about one processor's; what waits beyond that meets long calls more often than the echo they are held to. */
function warnWhenBusy(): void {
  const [, load = 0] = loadavg();
  const processors = availableParallelism();
  if (load <= processors) return;
  process.stderr.write(
    `The machine was busy with other work (load average ${load.toFixed(1)}, ${processors} processors): ratios come out too high. Measure again when it is quiet.\n`,
  );
}

function benchFor(name: string, signal: AbortSignal): Bench {
  return {
    signal,
    progress: (line) => {
      process.stderr.write(`${(performance.now() / 1000).toFixed(0).padStart(5)} s  ${name}: ${line}\n`);
    },
  };
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`error: ${errorChain(error)}\n`);
  if (error instanceof StorageError && error.hint !== undefined) process.stderr.write(`${error.hint}\n`);
  process.exitCode = 2;
}
