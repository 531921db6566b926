import { StorageError } from "@zfsilo/lib";
import { atMost, type Findings, type Measure, type Ratio } from "./findings.ts";
import type { Bench } from "./measurement.ts";
import { sampleRounds } from "./sampling.ts";

const pageSize = 100;

export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
  readonly orderBy: string;
}

export interface Page {
  readonly rows: number;
  readonly nextPageToken: string;
}

export interface Listing {
  /** The call, as it is named in the table. */
  readonly call: string;
  /** How many rows the list has. */
  readonly count: number;
  /** Told beside the count. */
  readonly of?: string;
  readonly orders: readonly string[];
  readonly list: (request: PageRequest) => Promise<Page>;
}

/** First and last page of a list, in turns: what they cost must not differ. */
export async function comparePages(listing: Listing, bench: Bench): Promise<Findings> {
  const { call, count, of = "" } = listing;
  const measures: Measure[] = [];
  const ratios: Ratio[] = [];
  for (const orderBy of listing.orders) {
    const pageToken = await lastPageToken(listing, orderBy, bench);
    const samples = await sampleRounds(
      () => [
        ["first", () => listing.list({ pageSize, orderBy, pageToken: "" })],
        ["last", () => listing.list({ pageSize, orderBy, pageToken })],
      ],
      { warmUp: 40, rounds: 150, signal: bench.signal },
    );
    const which = `of ${count.toLocaleString("en")}${of}${orderBy === "" ? "" : ` by ${orderBy}`}`;
    for (const page of ["first", "last"] as const) measures.push({ name: `${call}, ${page} page ${which}`, unit: "ms", ...samples.summary(page) });
    ratios.push(atMost(`${call}: last page / first ${which}`, samples.ratio("last", "first"), 1.5));
  }
  return { measures, ratios };
}

/** The token of the last page of the size that is measured, found in larger steps. That page is full. */
async function lastPageToken({ call, count, list }: Listing, orderBy: string, { signal }: Bench): Promise<string> {
  let pageToken = "";
  for (let seen = 0; seen < count - pageSize; ) {
    signal.throwIfAborted();
    const step = Math.min(1000, count - pageSize - seen);
    const page = await list({ pageSize: step, pageToken, orderBy });
    seen += page.rows;
    pageToken = page.nextPageToken;
  }
  const { rows, nextPageToken } = await list({ pageSize, pageToken, orderBy });
  if (rows === pageSize && nextPageToken === "") return pageToken;
  throw new StorageError("internal", `${call}: walk to the last of ${count}: ${rows} are left and not ${pageSize}`);
}
