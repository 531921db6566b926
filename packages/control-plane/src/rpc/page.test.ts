import { create } from "@bufbuild/protobuf";
import { OrphanSchema } from "@zfsilo/api";
import { describe, expect, it } from "vitest";
import { pageOf, parsePage } from "./page.ts";

const orphans = (count: number, description = "") =>
  Array.from({ length: count }, (_, at) => create(OrphanSchema, { name: `tank/${String((at * 7) % count).padStart(4, "0")}`, description }));

function walk(all: ReturnType<typeof orphans>, pageSize: number): string[][] {
  const pages: string[][] = [];
  for (let pageToken = ""; ; ) {
    const { page, nextPageToken } = pageOf(OrphanSchema, all, ({ name }) => name, parsePage({ pageSize, pageToken }));
    pages.push(page.map(({ name }) => name));
    pageToken = nextPageToken;
    if (pageToken === "") return pages;
  }
}

describe("a page of what hosts told", () => {
  it.each([1, 7, 100, 0])("gives each entry once, in order, at page size %i", (pageSize) => {
    const pages = walk(orphans(100), pageSize);
    expect(pages.flat()).toEqual(orphans(100).map(({ name }) => name).sort());
    expect(pages[0]).toHaveLength(pageSize === 0 ? 100 : pageSize);
  });

  it("has 1000 entries at most, and ends before it is too large", () => {
    expect(walk(orphans(2_001), 5_000).map(({ length }) => length)).toEqual([1000, 1000, 1]);
    expect(walk(orphans(10, "x".repeat(1 << 20)), 0).map(({ length }) => length)).toEqual([2, 2, 2, 2, 2]);
    expect(walk(orphans(2, "x".repeat(5 << 20)), 0).map(({ length }) => length)).toEqual([1, 1]);
  });

  it("goes on behind an entry that is gone", () => {
    const { nextPageToken } = pageOf(OrphanSchema, orphans(10), ({ name }) => name, parsePage({ pageSize: 3, pageToken: "" }));
    const left = orphans(10).filter(({ name }) => name !== "tank/0002");
    expect(pageOf(OrphanSchema, left, ({ name }) => name, parsePage({ pageSize: 1, pageToken: nextPageToken })).page[0]?.name).toBe("tank/0003");
  });

  it("refuses a token that it did not give, and less than nothing", () => {
    for (const pageToken of ["x", "!", "a2E="]) expect(() => parsePage({ pageSize: 0, pageToken })).toThrow("page_token");
    expect(() => parsePage({ pageSize: -1, pageToken: "" })).toThrow("page_size");
  });
});
