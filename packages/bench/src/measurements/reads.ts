import { atMost } from "../findings.ts";
import type { Measurement } from "../measurement.ts";
import { startEcho } from "../echo.ts";
import { sampleRounds } from "../sampling.ts";
import { startSystem, temporaryDirectory } from "../system.ts";
import { lifeOf } from "../volume-life.ts";

/** GetVolume of a volume that is mounted, so that its answer is the largest there is. */
export const reads: Measurement = {
  name: "reads",
  async run({ signal, progress }) {
    await using echo = await startEcho();
    await using directory = await temporaryDirectory();
    await using system = await startSystem({ dataDir: directory.path });
    const life = lifeOf(system.volumes, "vol_read");
    for (const call of ["CreateVolume", "PublishVolume", "ConnectVolume", "StageVolume", "MountVolume"] as const) await life[call]();
    progress("GetVolume and the echo, in turns");
    const samples = await sampleRounds(
      () => [
        ["echo", echo.call],
        ["GetVolume", () => system.volumes.getVolume({ name: "volumes/vol_read" })],
      ],
      { warmUp: 500, rounds: 1000, signal },
    );
    return {
      measures: (["echo", "GetVolume"] as const).map((name) => ({ name, unit: "ms", ...samples.summary(name) })),
      ratios: [atMost("GetVolume / echo", samples.ratio("GetVolume", "echo"), 2.5)],
    };
  },
};
