import type { Argv } from "@zfsilo/command";
import { formatPortal } from "@zfsilo/host";
import { Secret } from "@zfsilo/lib";
import { mounted, startDriverOf } from "../csi-driver.ts";
import { atMost, type Measure } from "../findings.ts";
import { hostsOf, MachineLab } from "../machine-lab.ts";
import type { MachineMeasurement } from "../measurement.ts";
import { sampleRounds } from "../sampling.ts";
import { startSystem, temporaryDirectory } from "../system.ts";

type Name = "by hand" | "ControllerPublishVolume" | "NodeStageVolume" | "publish and stage" | "not counted";

const titles = {
  "by hand": "iscsiadm, mkfs and mount by hand on take over ssh",
  ControllerPublishVolume: "ControllerPublishVolume, give and take",
  NodeStageVolume: "NodeStageVolume of a new volume on take",
} as const satisfies Partial<Record<Name, string>>;

const stagingTargetPath = "/mnt/bench-staging";
const byHand = "/mnt/bench-by-hand";

/**
 * Bringing a new volume to a node, next to the commands that a person would type there for one that is exported already. The login
 * is part of the driver's ControllerPublishVolume, as is the export; what both calls take together is shown, too.
 */
export const stageMachines: MachineMeasurement = {
  name: "stage-machines",
  async run({ signal, progress }, machines) {
    await using lab = new MachineLab(machines, signal);
    const { take, lio, iscsi, o } = lab;
    await lio.ensureModules(o);
    const spec = await lab.volume();
    await lio.ensureExport(spec, o);
    const { target, portals: [portal] } = spec;
    if (portal === undefined) throw new Error("the export has no portal");
    const chap = { userid: "bench", password: new Secret("0123456789abcdef") };
    await lio.ensureInitiator({ target, initiator: await iscsi.initiatorName(o), chap }, o);
    const run = async (...argv: Argv): Promise<void> => {
      const { exitCode, stderr } = await take.run(argv, { ...o, timeoutMs: 300_000 });
      if (exitCode !== 0) throw new Error(`${argv.join(" ")}: exit ${exitCode}: ${stderr}`);
    };
    const node = ["iscsiadm", "-m", "node", "-T", target, "-p", formatPortal(portal)] as const;
    const settings = { authmethod: "CHAP", username: chap.userid, password: chap.password.reveal() };
    const updates = Object.entries(settings).flatMap(([name, value]) => ["-n", `node.session.auth.${name}`, "-v", value]);
    let device = "";

    await using directory = await temporaryDirectory();
    await using system = await startSystem({ dataDir: directory.path, hosts: hostsOf(machines) });
    await using driver = await startDriverOf(system);
    let volumeId = "";
    const nodeId = "hst_take";

    progress("by hand, then by ControllerPublishVolume and NodeStageVolume, in turns");
    let published = 0;
    const together: number[] = [];
    const samples = await sampleRounds<Name>(
      (round) => [
        [
          "by hand",
          async () => {
            await run(...node, "-o", "new");
            await run(...node, "-o", "update", ...updates);
            await run(...node, "--login");
            device = (await lab.disks.awaitIscsiDevice({ target }, spec.handle, o)).path;
            await run("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=1", device);
            await run("mkdir", "-p", byHand);
            await run("mount", "-t", "ext4", device, byHand);
          },
        ],
        [
          "not counted",
          async () => {
            await run("umount", byHand);
            await run("dd", "if=/dev/zero", `of=${device}`, "bs=1M", "count=2", "conv=fsync", "status=none");
            await run(...node, "--logout");
            await run(...node, "-o", "delete");
          },
        ],
        [
          "not counted",
          async () => {
            const parameters = { host: "hst_give", sparse: "true" };
            const capacityRange = { requiredBytes: 64n << 20n };
            const { volume } = await driver.controller.createVolume({ name: `stage-${round}`, capacityRange, volumeCapabilities: [mounted], parameters });
            volumeId = volume?.volumeId ?? "";
          },
        ],
        [
          "ControllerPublishVolume",
          async () => {
            const began = performance.now();
            await driver.controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability: mounted });
            published = performance.now() - began;
          },
        ],
        [
          "NodeStageVolume",
          async () => {
            const began = performance.now();
            await driver.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability: mounted });
            together.push(published + performance.now() - began);
          },
        ],
        [
          "not counted",
          async () => {
            await driver.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
            await driver.controller.controllerUnpublishVolume({ volumeId, nodeId });
            await driver.controller.deleteVolume({ volumeId });
          },
        ],
      ],
      { warmUp: 1, rounds: 8, signal },
    );
    for (const sample of together.slice(1)) samples.add("publish and stage", sample);
    const names = Object.keys(titles) as (keyof typeof titles)[];
    return {
      measures: [
        ...names.map((name): Measure => ({ name: titles[name], unit: "ms", ...samples.summary(name) })),
        { name: "ControllerPublishVolume and NodeStageVolume", unit: "ms", ...samples.summary("publish and stage") },
      ],
      ratios: [atMost("NodeStageVolume / iscsiadm, mkfs and mount by hand", samples.ratio("NodeStageVolume", "by hand"), 1.5)],
    };
  },
};
