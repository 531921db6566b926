import { createLogger } from "@zfsilo/lib";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { parseConfig } from "../../src/config.ts";
import { startControlPlane } from "../../src/control-plane.ts";
import { formatListenAddress } from "../../src/rpc/listen-address.ts";
import { fastDirectory } from "../world/world.ts";
import { Load } from "./load.ts";
import { makeTrouble } from "./trouble.ts";

/** `npm run test:soak -- --minutes N`: mixed load with faults; memory stays flat, nothing stays open, no volume is lost. */
const { values } = parseArgs({ options: { minutes: { type: "string", default: "1" } } });
const runMs = Number(values.minutes) * 60_000;

const hosts = [
  { id: "give", roles: ["target"], simulated: {}, pools: [{ name: "tank" }], portals: [{ address: "192.0.2.1" }] },
  { id: "take", roles: ["initiator"], simulated: {} },
  { id: "tap", roles: ["initiator"], simulated: {} },
];
const handles = async (): Promise<number> => (await readdir("/proc/self/fd")).length;
const residentMiB = (): number => {
  globalThis.gc?.();
  return process.memoryUsage().rss / 2 ** 20;
};

const openBefore = await handles();
const dataDir = await mkdtemp(join(fastDirectory(), "zfsilo-soak-"));
const text = JSON.stringify({ hosts, reconcile: { intervalSeconds: 2 } });
const controlPlane = await startControlPlane({
  config: parseConfig({ ZFSILO_DATA_DIR: dataDir, ZFSILO_LISTEN: "127.0.0.1:0" }, { name: "soak", text }),
  log: createLogger("silent"),
  secretKey: undefined,
  sshAgentSocket: undefined,
});
const token = (await readFile(controlPlane.adminTokenFile, "utf8")).trim();
const load = new Load(`http://${formatListenAddress(controlPlane.address)}`, token);

const end = Date.now() + runMs;
const until = (): boolean => Date.now() < end;
const memory: number[] = [];
const measure = async (): Promise<void> => {
  while (until()) {
    await sleep(Math.min(runMs / 30, 5_000));
    memory.push(residentMiB());
  }
};
await Promise.all([load.run(8, until), makeTrouble(controlPlane.world, until), measure()]);
controlPlane.world.faults.clear();
const problems = await load.lookForLost();
await controlPlane.stop();
await rm(dataDir, { recursive: true });
await sleep(500);

const median = (samples: readonly number[]): number => [...samples].sort((a, b) => a - b)[Math.floor(samples.length / 2)] ?? 0;
const third = Math.floor(memory.length / 3);
const [early, late] = [median(memory.slice(third, 2 * third)), median(memory.slice(2 * third))];
// The first third is warm-up. What V8 keeps for itself moves by some MiB from one sample to the next.
if (late > early * 1.1 + 10) problems.push(`memory grew from ${early.toFixed(0)} to ${late.toFixed(0)} MiB`);
const openAfter = await handles();
if (openAfter > openBefore) problems.push(`${openAfter - openBefore} file descriptors stayed open`);
for (const problem of problems) console.log(`soak: ${problem}`);
console.log(`soak: ${load.calls} calls, ${load.refused} refused, memory ${early.toFixed(0)} to ${late.toFixed(0)} MiB, failed: ${problems.length}`);
// Anything that still runs would keep the process up, and is a failure of its own.
const lingering = setTimeout(() => {
  console.log(`soak: still active: ${process.getActiveResourcesInfo().join(", ")}`);
  process.exit(1);
}, 5_000);
lingering.unref();
process.exitCode = problems.length > 0 ? 1 : 0;
