import { describe, expect, it } from "vitest";
import { readTestdata } from "../testing/testdata.ts";
import { parsePoolStatuses, stripesOf, type PoolStatus } from "./status.ts";

function captured(name: string): PoolStatus {
  const [status, ...more] = parsePoolStatuses(readTestdata(import.meta.url, `status-${name}.zfs-2.1.11.stdout.txt`));
  if (status === undefined || more.length > 0) throw new Error(`${name} is not the status of one pool`);
  return status;
}

const outline = (status: PoolStatus): unknown => {
  const shown = (vdev: NonNullable<PoolStatus["root"]>): unknown =>
    vdev.children.length === 0 ? `${vdev.name} ${vdev.state}` : [`${vdev.name} ${vdev.state}`, ...vdev.children.map(shown)];
  return status.root && shown(status.root);
};

describe("zpool status", () => {
  it("knows a disk, a mirror with log, cache and spare, and a group", () => {
    expect(outline(captured("disk"))).toEqual(["tank ONLINE", "vdb ONLINE"]);
    expect(outline(captured("mirror"))).toEqual([
      "q4 ONLINE",
      ["mirror-0 ONLINE", "/v/d1 ONLINE", "/v/d2 ONLINE"],
      ["logs ", "/v/d3 ONLINE"],
      ["cache ", "/v/d4 ONLINE"],
      ["spares ", "/v/d5 AVAIL"],
    ]);
    expect(outline(captured("raidz1"))).toEqual(["q1 ONLINE", ["raidz1-0 ONLINE", "/v/d1 ONLINE", "/v/d2 ONLINE", "/v/d3 ONLINE"]]);
  });

  it("knows what is wrong with a degraded pool, and its scrub", () => {
    expect(captured("degraded")).toMatchObject({
      name: "q4",
      state: "DEGRADED",
      problem: expect.stringMatching(/^One or more devices has been taken offline .* in a degraded state\.$/) as string,
      scrub: { state: "finished", endedAt: "Sat Nov 21 17:00:08 2026", percent: 100, errors: 0n },
      dataErrors: 0n,
    });
    expect(captured("degraded").root?.children[0]?.children[1]).toMatchObject({ name: "/v/d2", state: "OFFLINE" });
  });

  it("knows a suspended pool", () => {
    const status = captured("suspended");
    expect(status).toMatchObject({ state: "SUSPENDED", dataErrors: 514n, scrub: undefined });
    expect(status.root).toMatchObject({ state: "UNAVAIL", note: "insufficient replicas" });
    expect(status.root?.children[0]).toMatchObject({ state: "UNAVAIL", note: "corrupted data", readErrors: 0n });
  });

  it("says nothing of a scrub after a resilver, and without one", () => {
    expect(captured("resilvered").scrub).toBeUndefined();
    expect(captured("disk").scrub).toBeUndefined();
  });

  const around = (scan: string): string =>
    `  pool: p\n state: ONLINE\n  scan: ${scan}\nconfig:\n\n\tNAME  STATE  READ WRITE CKSUM\n\tp  ONLINE  1  2  3  too many errors\n\nerrors: 3 data errors, use '-v' for a list\n`;

  it.each([
    [
      "scrub in progress since Sat Nov 21 17:02:11 2026\n\t131072 scanned at 65536/s, 65536 issued at 32768/s, 145408 total\n\t0 repaired, 45.10% done, 00:00:02 to go",
      { state: "scanning", startedAt: "Sat Nov 21 17:02:11 2026", endedAt: "", percent: 45.1, errors: 0n },
    ],
    ["scrub canceled on Sat Nov 21 17:02:14 2026", { state: "canceled", startedAt: "", endedAt: "Sat Nov 21 17:02:14 2026", percent: 0, errors: 0n }],
    [
      "scrub paused since Sat Nov 21 17:05:00 2026\n\tscrub started on Sat Nov 21 17:02:11 2026\n\t65536 scanned, 0 issued, 145408 total\n\t0 repaired, 12.50% done",
      { state: "scanning", startedAt: "Sat Nov 21 17:02:11 2026", endedAt: "", percent: 12.5, errors: 0n },
    ],
    [
      "scrub repaired 4096 in 1 days 02:03:04 with 2 errors on Sun Nov 22 17:02:14 2026",
      { state: "finished", startedAt: "", endedAt: "Sun Nov 22 17:02:14 2026", percent: 100, errors: 2n },
    ],
    ["none requested", undefined],
    ["resilver in progress since Sat Nov 21 17:02:11 2026\n\t0 resilvered, 45.10% done, 00:00:02 to go", undefined],
  ])("reads %s", (scan, expected) => {
    const [status] = parsePoolStatuses(around(scan));
    expect(status?.scrub).toEqual(expected);
    expect(status).toMatchObject({ dataErrors: 3n, root: { readErrors: 1n, writeErrors: 2n, checksumErrors: 3n, note: "too many errors" } });
  });

  it("tells pools apart", () => {
    const both = `${readTestdata(import.meta.url, "status-disk.zfs-2.1.11.stdout.txt")}\n${around("none requested")}`;
    expect(parsePoolStatuses(both).map(({ name }) => name)).toEqual(["tank", "p"]);
  });

  it.each([
    ["disk", []],
    ["mirror", []],
    ["raidz1", [{ kind: "raidz", parity: 1, devices: 3 }]],
    ["raidz2", [{ kind: "raidz", parity: 2, devices: 6 }]],
    ["draid", [{ kind: "draid", parity: 1, devices: 2 }]],
  ])("knows how a pool of %s stripes blocks", (name, stripes) => {
    expect(stripesOf(captured(name).root)).toEqual(stripes);
  });
});
