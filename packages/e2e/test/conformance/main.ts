import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { oneLife } from "../../src/api/one-life.ts";
import { startSystem } from "../../src/api/system.ts";
import { driverOf } from "../../src/csi/running-driver.ts";
import { answerPaths } from "./paths.ts";
import { runSanity, type SpecResult } from "./sanity.ts";
import { pendingSpecs, skipReason } from "./skips.ts";

/**
 * `npm run test:conformance`: csi-sanity against a driver and a control plane on simulated hosts, for filesystem and raw
 * block volumes. `-- --endpoint unix:///path` takes a driver that runs already, `-- --times 10` repeats it all, and
 * `-- --report FILE` writes the counts as vitest does, for .ci/totals.js.
 */
const { values } = parseArgs({
  options: { endpoint: { type: "string" }, times: { type: "string", default: "1" }, report: { type: "string" } },
});
const times = Number(values.times);
if (!Number.isInteger(times) || times < 1) throw new Error("--times: write a count");

const sizes = ["-csi.testvolumesize", String(256 * 1024 ** 2), "-csi.testvolumeexpandsize", String(512 * 1024 ** 2)];
const total = { passed: 0, failed: 0, skipped: 0 };
const problems: string[] = [];

for (let round = 1; round <= times; round += 1) {
  for (const access of ["mount", "block"] as const) {
    const title = `csi-sanity, ${access}${times > 1 ? `, ${round} of ${times}` : ""}`;
    const directory = await mkdtemp(join(tmpdir(), "zfsilo-conformance-"));
    try {
      const mutable = join(directory, "mutable.yaml");
      await writeFile(mutable, "zfs.compression: lz4\n");
      const flags = [...sizes, "-csi.testvolumeaccesstype", access, "-csi.testvolumemutableparameters", mutable];
      const running = values.endpoint;
      const results = running === undefined ? await onSimulatedHosts(directory, flags) : await runSanity(directory, ["-csi.endpoint", running, ...flags]);
      judge(title, results);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
}

for (const problem of problems) console.log(problem);
console.log(`csi-sanity: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
if (values.report !== undefined) {
  const report = { testResults: [], numPassedTests: total.passed, numFailedTests: total.failed, numPendingTests: total.skipped, numTodoTests: 0 };
  await writeFile(values.report, JSON.stringify(report));
}
process.exitCode = problems.length > 0 || total.passed === 0 ? 1 : 0;

function judge(title: string, results: readonly SpecResult[]): void {
  const of = (state: SpecResult["state"]): readonly SpecResult[] => results.filter((result) => result.state === state);
  const skipped = of("skipped");
  const unexpected = [
    ...skipped.filter((spec) => skipReason(spec) === undefined),
    ...of("pending").filter(({ name }) => !pendingSpecs.some((pending) => name.endsWith(pending))),
  ];
  console.log(`${title}: ${of("passed").length} passed, ${of("failed").length} failed, ${skipped.length} skipped, ${of("pending").length} switched off`);
  for (const spec of skipped) {
    const reason = skipReason(spec);
    if (reason !== undefined) console.log(`  skipped: ${spec.name}: ${reason}`);
  }
  for (const { name, message } of of("failed")) problems.push(`failed (${title}): ${name}: ${message}`);
  for (const { name, message } of unexpected) problems.push(`skipped without a reason (${title}): ${name}: ${message}`);
  total.passed += of("passed").length;
  total.failed += of("failed").length + unexpected.length;
  total.skipped += skipped.length + of("pending").length - unexpected.length;
}

/** Ends with what it began with: no volume at the control plane, no trace on the machines. */
async function onSimulatedHosts(directory: string, flags: readonly string[]): Promise<SpecResult[]> {
  const system = await startSystem();
  const driver = await driverOf(system);
  try {
    await oneLife(system);
    const before = system.controlPlane.world.snapshot();
    const parameters = join(directory, "parameters.yaml");
    await writeFile(parameters, "host: hst_give\n");
    using paths = await answerPaths(system.controlPlane.world.executor("hst_take"), directory);
    const results = await runSanity(directory, [
      ...["-csi.endpoint", `unix://${driver.socket}`],
      ...paths.flags,
      ...["-csi.testvolumeparameters", parameters],
      ...flags,
    ]);
    const { volumes } = await system.volumes.listVolumes({});
    for (const { name } of volumes) problems.push(`left over: ${name}`);
    if (!isDeepStrictEqual(system.controlPlane.world.snapshot(), before)) problems.push("left over: the machines are not as before");
    return results;
  } finally {
    await driver.stop();
    await system.stop();
  }
}
