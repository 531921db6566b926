import { RecordingExecutor } from "@zfsilo/command";
import { formatPortal, LioTarget, type ExportSpec } from "@zfsilo/host";
import { BugError } from "@zfsilo/lib";
import { bashScript } from "../bash-script.ts";
import { atLeast, atMost, type Measure } from "../findings.ts";
import { hostsOf, MachineLab } from "../machine-lab.ts";
import type { MachineMeasurement } from "../measurement.ts";
import { sampleRounds, type Samples } from "../sampling.ts";
import { startSystem, temporaryDirectory } from "../system.ts";
import { publishWithTargetcli, ramTargets, removeTargetcliExport } from "../targetcli.ts";
import { lifeOf } from "../volume-life.ts";

const otherTargets = 100;
type Name = "PublishVolume" | "export" | "script" | "targetcli" | "targetcli, 100" | "export, 100" | "not counted";

const titles = {
  PublishVolume: "PublishVolume on give",
  export: "export on give over ssh",
  script: "bash script of the same operations, one ssh exec",
  targetcli: "targetcli, no other target",
  "export, 100": "export on give over ssh, 100 other targets",
  "targetcli, 100": "targetcli, 100 other targets",
} as const satisfies Record<Exclude<Name, "not counted">, string>;

/** Publishing on give, next to what a person would write or run. */
export const publishMachines: MachineMeasurement = {
  name: "publish-machines",
  async run({ signal, progress }, machines) {
    await using lab = new MachineLab(machines, signal);
    const { give, lio, o } = lab;
    await lio.ensureModules(o);
    const spec = await lab.volume();
    const script = bashScript(await operationsOf(lab, spec));
    await using directory = await temporaryDirectory();
    await using system = await startSystem({ dataDir: directory.path, hosts: hostsOf(machines) });
    const life = lifeOf(system.volumes, "vol_publish");
    await life.CreateVolume();

    progress("PublishVolume, the export alone, and the script, in turns");
    const remove = () => lio.removeExport(spec, o);
    const samples: Samples<Name> = await sampleRounds<Name>(
      () => [
        ["PublishVolume", life.PublishVolume],
        ["not counted", life.UnpublishVolume],
        ["export", () => lio.ensureExport(spec, o)],
        ["not counted", remove],
        ["script", () => runScript(lab, script)],
        ["not counted", remove],
      ],
      { warmUp: 2, rounds: 10, signal },
    );
    progress("targetcli with no other target");
    const targetcli = async (name: Name): Promise<void> => {
      const began = performance.now();
      await publishWithTargetcli(give, spec, o);
      samples.add(name, performance.now() - began);
      await removeTargetcliExport(give, spec, o);
    };
    for (let run = 0; run < 3; run += 1) await targetcli("targetcli");
    progress(`targetcli with ${otherTargets} other targets: a minute a run`);
    await give.files(ramTargets(otherTargets, spec.portals.map(formatPortal)[0] ?? ""), { ...o, timeoutMs: 120_000 });
    for (let run = 0; run < 5; run += 1) {
      const began = performance.now();
      await lio.ensureExport(spec, o);
      samples.add("export, 100", performance.now() - began);
      await remove();
    }
    for (let run = 0; run < 2; run += 1) await targetcli("targetcli, 100");

    const names = Object.keys(titles) as (keyof typeof titles)[];
    return {
      measures: names.map((name): Measure => ({ name: titles[name], unit: "ms", ...samples.summary(name) })),
      ratios: [
        atMost("export over ssh / bash script", samples.ratio("export", "script"), 1.2),
        atMost("PublishVolume / bash script", samples.ratio("PublishVolume", "script"), 1.2),
        atLeast("targetcli / export, no other target", samples.ratio("targetcli", "export"), 6),
        atLeast("targetcli / PublishVolume, no other target", samples.ratio("targetcli", "PublishVolume"), 6),
        atLeast("targetcli / export, 100 other targets", samples.ratio("targetcli, 100", "export, 100"), 40),
      ],
    };
  },
};

/** What an export does, seen by making it once. */
async function operationsOf({ give, o }: MachineLab, spec: ExportSpec) {
  const seen = new RecordingExecutor(give);
  const lio = new LioTarget(seen);
  await lio.ensureExport(spec, o);
  const { operations } = seen.calls[0] ?? {};
  if (operations === undefined) throw new BugError("the first thing an export does is no batch of file operations");
  await lio.removeExport(spec, o);
  return operations;
}

async function runScript({ give, o }: MachineLab, stdin: string): Promise<void> {
  const { exitCode, stderr } = await give.run(["bash", "-s"], { ...o, stdin });
  if (exitCode !== 0) throw new Error(`the script failed: ${stderr}`);
}
