import { SshExecutor } from "@zfsilo/command";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { useRealWorld } from "../../src/api/real-world.ts";
import { driverOf, type RunningDriver } from "../../src/csi/running-driver.ts";
import { canBuildTools, csiSanity } from "../../src/deploy/tools.ts";
import { answerPaths } from "../conformance/paths.ts";
import { runSanity, type SpecResult } from "../conformance/sanity.ts";
import { skipReason } from "../conformance/skips.ts";

// The node part of csi-sanity on real kernels, of the pinned program of npm run test:conformance, which runs all of it on simulated
// machines. The driver under test runs on take, as its agent; the controller's is another one. Traces are looked for after each test.
describe.runIf(canBuildTools())("csi-sanity", () => {
  const world = useRealWorld("csi-sanity", { reach: "driver" });
  let controller: RunningDriver;
  let onTake: SshExecutor;

  beforeAll(async () => {
    await csiSanity();
    controller = await driverOf(world.system, { mode: "controller" });
    const { host: address, port, user, privateKeyPath: privateKeyFile, knownHostsPath: knownHostsFile } = world.machines.take.ssh;
    onTake = new SshExecutor("take", { address, port, user, privateKeyFile, knownHostsFile });
  });
  afterAll(async () => {
    await onTake.close();
    await controller.stop();
  });

  const sizes = ["-csi.testvolumesize", String(64 << 20), "-csi.testvolumeexpandsize", String(128 << 20)];

  it.each(["mount", "block"])("passes its node service's specs, with %s volumes", async (access) => {
    const directory = await mkdtemp(join(tmpdir(), "zfsilo-sanity-"));
    try {
      using paths = await answerPaths(onTake, directory);
      const parameters = join(directory, "parameters.yaml");
      await writeFile(parameters, "host: hst_give\n");
      const results = await runSanity(directory, [
        ...["--ginkgo.focus", "Node Service", "-csi.testvolumeaccesstype", access, "-csi.testvolumeparameters", parameters],
        ...["-csi.endpoint", `unix://${world.driver.socket}`, "-csi.controllerendpoint", `unix://${controller.socket}`],
        ...paths.flags,
        ...sizes,
      ]);
      const specs = results.filter(({ name }) => name.startsWith("Node Service"));
      const of = (state: SpecResult["state"]): SpecResult[] => specs.filter((spec) => spec.state === state);
      const [passed, failed, skipped] = [of("passed"), of("failed"), of("skipped")];
      console.log(`csi-sanity on take, ${access}: ${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
      expect(failed).toEqual([]);
      expect(skipped.filter((spec) => skipReason(spec) === undefined)).toEqual([]);
      expect(passed.length).toBeGreaterThan(20);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
