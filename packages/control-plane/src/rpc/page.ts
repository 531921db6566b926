import { toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { invalidField } from "@zfsilo/lib";

const maxPageSize = 1000;
/** gRPC clients refuse messages above 4 MiB. */
const maxPageBytes = 3 << 20;

export interface PageAsked {
  readonly size: number;
  /** The last key of the page before. */
  readonly after: string | undefined;
}

/** Before a host is asked. */
export function parsePage({ pageSize, pageToken }: { readonly pageSize: number; readonly pageToken: string }): PageAsked {
  if (pageSize < 0) throw invalidField("page_size", "is negative");
  return { size: pageSize === 0 ? maxPageSize : Math.min(pageSize, maxPageSize), after: keyFrom(pageToken) };
}

/**
 * A page of what hosts told just now, by key: nothing is stored, so each page asks them again, and begins behind the last key of the
 * one before. `keyOf` tells entries apart.
 */
export function pageOf<D extends DescMessage>(
  schema: D,
  all: readonly MessageShape<D>[],
  keyOf: (entry: MessageShape<D>) => string,
  { size, after }: PageAsked,
): { readonly page: MessageShape<D>[]; readonly nextPageToken: string } {
  const rest = all
    .map((entry) => ({ key: keyOf(entry), entry }))
    .filter(({ key }) => after === undefined || key > after)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  let bytes = 0;
  const fitting = rest.slice(0, size).findIndex(({ entry }, at) => {
    bytes += toBinary(schema, entry).length;
    return at > 0 && bytes > maxPageBytes;
  });
  const page = rest.slice(0, fitting < 0 ? size : fitting);
  const last = page.length < rest.length ? page.at(-1) : undefined;
  return { page: page.map(({ entry }) => entry), nextPageToken: last === undefined ? "" : Buffer.from(`k${last.key}`).toString("base64url") };
}

function keyFrom(token: string): string | undefined {
  if (token === "") return undefined;
  const bytes = Buffer.from(token, "base64url");
  const text = bytes.toString();
  if (bytes.toString("base64url") === token && text.startsWith("k")) return text.slice(1);
  throw invalidField("page_token", "is not a token of this list", "Send next_page_token of the page before unchanged; leave it empty to start over.");
}
