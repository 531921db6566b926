import { atMost } from "../findings.ts";
import type { Measurement } from "../measurement.ts";
import { startEcho } from "../echo.ts";
import { sampleRounds, type Step } from "../sampling.ts";
import { startSystem, temporaryDirectory } from "../system.ts";
import { lifeCalls, lifeOf, type LifeCall } from "../volume-life.ts";

/** Each call of a volume's life by itself, on simulated hosts that answer at once; an echo before each. */
export const changes: Measurement = {
  name: "changes",
  async run({ signal, progress }) {
    await using echo = await startEcho();
    await using directory = await temporaryDirectory();
    await using system = await startSystem({ dataDir: directory.path });
    const samples = await sampleRounds<LifeCall | "echo">(
      (round) => {
        const life = lifeOf(system.volumes, `vol_${round}`);
        return lifeCalls.flatMap((call): Step<LifeCall | "echo">[] => [["echo", echo.call], [call, life[call]]]);
      },
      {
        warmUp: 60,
        rounds: 150,
        signal,
        afterRound: (done, of) => {
          if (done % 30 === 0) progress(`life ${done} of ${of}`);
        },
      },
    );
    return {
      measures: (["echo", ...lifeCalls] as const).map((name) => ({
        name: name === "echo" ? "echo between changes" : name,
        unit: "ms",
        ...samples.summary(name),
      })),
      ratios: lifeCalls.map((call) => atMost(`${call} / echo`, samples.ratio(call, "echo"), 15)),
    };
  },
};
