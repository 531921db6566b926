import { atMost, type Measure } from "../findings.ts";
import type { Measurement } from "../measurement.ts";
import { runAtOnce } from "../pool.ts";
import { sampleRounds } from "../sampling.ts";
import { startSystem, temporaryDirectory, type System } from "../system.ts";
import { lifeOf } from "../volume-life.ts";

/** PublishVolume on a simulated target that has few exports, and on one that has many. */
export const targets: Measurement = {
  name: "targets",
  async run({ signal, progress }) {
    await using fewDirectory = await temporaryDirectory();
    await using few = await startSystem({ dataDir: fewDirectory.path });
    await using manyDirectory = await temporaryDirectory();
    await using many = await startSystem({ dataDir: manyDirectory.path });
    progress("publishing 10 volumes here and 1,000 there");
    await publishVolumes(few, 10);
    await publishVolumes(many, 1000);
    const lives = { few: lifeOf(few.volumes, "vol_more"), many: lifeOf(many.volumes, "vol_more") };
    await lives.few.CreateVolume();
    await lives.many.CreateVolume();
    progress("publishing one more, in turns");
    const samples = await sampleRounds(
      (round) => {
        const publishes = [["with 10 targets", lives.few.PublishVolume], ["with 1,000 targets", lives.many.PublishVolume]] as const;
        // Whoever comes second finds the caches the other left, so they take turns in that too.
        return [
          ...(round % 2 === 0 ? publishes : publishes.toReversed()),
          ["back", lives.few.UnpublishVolume],
          ["back", lives.many.UnpublishVolume],
        ];
      },
      { warmUp: 60, rounds: 150, signal },
    );
    const names = ["with 10 targets", "with 1,000 targets"] as const;
    return {
      measures: names.map((name): Measure => ({ name: `PublishVolume ${name}`, unit: "ms", ...samples.summary(name) })),
      ratios: [atMost("PublishVolume with 1,000 targets / with 10", samples.ratio("with 1,000 targets", "with 10 targets"), 1.2)],
    };
  },
};

async function publishVolumes(system: System, count: number): Promise<void> {
  const works = Array.from({ length: count }, (_, index) => async () => {
    const life = lifeOf(system.volumes, `vol_${index}`);
    await life.CreateVolume();
    await life.PublishVolume();
  });
  await runAtOnce(works, 16);
}
