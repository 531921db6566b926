import { BugError } from "@zfsilo/lib";
import { mounted, startDriverOf } from "../csi-driver.ts";
import { atMost, type Measure } from "../findings.ts";
import type { Measurement } from "../measurement.ts";
import { sampleRounds } from "../sampling.ts";
import { startSystem, temporaryDirectory } from "../system.ts";
import { lifeOf } from "../volume-life.ts";

type Name = "CreateVolume" | "CreateVolume by CSI" | "not counted";

/** What the driver adds to making a volume: the same volume by the API and by CSI, on simulated hosts that answer at once. */
export const createByCsi: Measurement = {
  name: "create-by-csi",
  async run({ signal, progress }) {
    await using directory = await temporaryDirectory();
    await using system = await startSystem({ dataDir: directory.path });
    await using driver = await startDriverOf(system);
    const make = async (name: string): Promise<string> => {
      const { volume } = await driver.controller.createVolume({
        name,
        capacityRange: { requiredBytes: 64n << 20n },
        volumeCapabilities: [mounted],
        parameters: { host: "hst_give", pool: "tank", sparse: "true" },
      });
      if (volume === undefined) throw new BugError(`CSI CreateVolume ${name}: no volume`);
      return volume.volumeId;
    };
    let volumeId = "";
    const samples = await sampleRounds<Name>(
      (round) => {
        const life = lifeOf(system.volumes, `vol_${round}`);
        return [
          ["CreateVolume", life.CreateVolume],
          ["not counted", life.DeleteVolume],
          ["CreateVolume by CSI", async () => (volumeId = await make(`pvc-${round}`))],
          ["not counted", () => driver.controller.deleteVolume({ volumeId })],
        ];
      },
      {
        warmUp: 60,
        rounds: 150,
        signal,
        afterRound: (done, of) => {
          if (done % 70 === 0) progress(`volume ${done} of ${of}`);
        },
      },
    );
    return {
      measures: [{ name: "CreateVolume by CSI", unit: "ms", ...samples.summary("CreateVolume by CSI") } satisfies Measure],
      ratios: [atMost("CreateVolume by CSI / CreateVolume", samples.ratio("CreateVolume by CSI", "CreateVolume"), 1.3)],
    };
  },
};
