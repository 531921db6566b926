import { merge, type Findings } from "../findings.ts";
import type { Measurement } from "../measurement.ts";
import { comparePages, type Page, type PageRequest } from "../paging.ts";
import { seedSnapshots, seedVolumes } from "../seed.ts";
import { startSystem, temporaryDirectory } from "../system.ts";

const orders = ["", "create_time desc"];
const snapshotCount = 10_000;
const volumeCount = 10;

/** First and last page of ListVolumes. The limit holds for the largest number of volumes; the others show the way there. */
export const lists: Measurement = {
  name: "lists",
  async run(bench) {
    const found: Findings[] = [];
    for (const count of [1_000, 100_000]) {
      bench.progress(`writing ${count} rows`);
      await using directory = await temporaryDirectory();
      await (await startSystem({ dataDir: directory.path }))[Symbol.asyncDispose]();
      await seedVolumes(directory.path, { count, zvols: false }, bench.signal);
      await using system = await startSystem({ dataDir: directory.path });
      bench.progress(`walking through ${count} volumes`);
      const list = async (request: PageRequest): Promise<Page> => {
        const { volumes, nextPageToken } = await system.volumes.listVolumes(request);
        return { rows: volumes.length, nextPageToken };
      };
      found.push(await comparePages({ call: "ListVolumes", count, orders, list }, bench));
    }
    return merge(found);
  },
};

/** First and last page of ListSnapshots: of all, and of one volume's. */
export const snapshotLists: Measurement = {
  name: "snapshot-lists",
  async run(bench) {
    bench.progress(`writing ${snapshotCount} rows`);
    await using directory = await temporaryDirectory();
    await (await startSystem({ dataDir: directory.path }))[Symbol.asyncDispose]();
    const volume = await seedSnapshots(directory.path, { count: snapshotCount, volumes: volumeCount }, bench.signal);
    await using system = await startSystem({ dataDir: directory.path });
    bench.progress(`walking through ${snapshotCount} snapshots`);
    const listing = (filter: string) => async (request: PageRequest): Promise<Page> => {
      const { snapshots, nextPageToken } = await system.snapshots.listSnapshots({ ...request, filter });
      return { rows: snapshots.length, nextPageToken };
    };
    return merge([
      await comparePages({ call: "ListSnapshots", count: snapshotCount, orders, list: listing("") }, bench),
      await comparePages(
        { call: "ListSnapshots", count: snapshotCount / volumeCount, of: " of one volume", orders, list: listing(`volume = volumes/${volume}`) },
        bench,
      ),
    ]);
  },
};
