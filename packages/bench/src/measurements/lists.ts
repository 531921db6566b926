import { StorageError } from "@zfsilo/lib";
import { atMost, type Measure, type Ratio } from "../findings.ts";
import type { Bench, Measurement } from "../measurement.ts";
import { sampleRounds } from "../sampling.ts";
import { seedVolumes } from "../seed.ts";
import { startSystem, temporaryDirectory, type Volumes } from "../system.ts";

const pageSize = 100;

/** First and last page of ListVolumes. The limit holds for the largest number of volumes; the others show the way there. */
export const lists: Measurement = {
  name: "lists",
  async run(bench) {
    const measures: Measure[] = [];
    const ratios: Ratio[] = [];
    for (const count of [1_000, 100_000]) {
      bench.progress(`writing ${count} rows`);
      await using directory = await temporaryDirectory();
      await (await startSystem({ dataDir: directory.path }))[Symbol.asyncDispose]();
      await seedVolumes(directory.path, { count, zvols: false }, bench.signal);
      await using system = await startSystem({ dataDir: directory.path });
      bench.progress(`walking through ${count} volumes`);
      const last = await lastPageToken(system.volumes, count, bench);
      for (const orderBy of ["", "create_time desc"]) {
        const token = orderBy === "" ? last : await lastPageToken(system.volumes, count, bench, orderBy);
        const samples = await sampleRounds(
          () => [
            ["first", () => system.volumes.listVolumes({ pageSize, orderBy })],
            ["last", () => system.volumes.listVolumes({ pageSize, orderBy, pageToken: token })],
          ],
          { warmUp: 40, rounds: 150, signal: bench.signal },
        );
        const of = `of ${count.toLocaleString("en")}${orderBy === "" ? "" : ` by ${orderBy}`}`;
        for (const page of ["first", "last"] as const) measures.push({ name: `ListVolumes, ${page} page ${of}`, unit: "ms", ...samples.summary(page) });
        ratios.push(atMost(`ListVolumes: last page / first ${of}`, samples.ratio("last", "first"), 1.5));
      }
    }
    return { measures, ratios };
  },
};

/** The token of the last page of the size that is measured, found in larger steps. That page is full. */
async function lastPageToken(volumes: Volumes, count: number, { signal }: Bench, orderBy = ""): Promise<string> {
  let pageToken = "";
  for (let seen = 0; seen < count - pageSize; ) {
    signal.throwIfAborted();
    const step = Math.min(1000, count - pageSize - seen);
    const page = await volumes.listVolumes({ pageSize: step, pageToken, orderBy });
    seen += page.volumes.length;
    pageToken = page.nextPageToken;
  }
  const { volumes: left, nextPageToken } = await volumes.listVolumes({ pageSize, pageToken, orderBy });
  if (left.length === pageSize && nextPageToken === "") return pageToken;
  throw new StorageError("internal", `walk to the last of ${count} volumes: ${left.length} are left and not ${pageSize}`);
}
