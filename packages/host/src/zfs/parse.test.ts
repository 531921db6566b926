import { describe, expect, it } from "vitest";
import { readTestdata } from "../testing/testdata.ts";
import { parseDatasetName } from "./names.ts";
import { parsePools, parseProperties, parseSpace, parseZvol, type Zvol } from "./parse.ts";

const read = (name: string): string => readTestdata(import.meta.url, `${name}.zfs-2.1.11.stdout.txt`);

function zvol(file: string, dataset: string): Zvol {
  return parseZvol(parseDatasetName(dataset), parseProperties(read(file)).get(dataset) ?? {});
}

describe("zfs get", () => {
  it("reads a thick volume, whose cluster is only inherited and so not its own", () => {
    expect(zvol("get-volume-thick", "tank/zfsilo/v2")).toEqual({
      dataset: "tank/zfsilo/v2",
      guid: "9836194453325154302",
      sizeBytes: 67108864n,
      volblocksizeBytes: 8192n,
      refreservationBytes: 71303168n,
      usedBytes: 71303168n,
      referencedBytes: 12288n,
      logicalUsedBytes: 6144n,
      availableBytes: 7764428800n,
      createdAt: new Date(1795268529000),
      properties: {
        compression: "off",
        volblocksize: "8192",
        sync: "standard",
        logbias: "latency",
        primarycache: "all",
        secondarycache: "all",
        copies: "1",
        dedup: "off",
        checksum: "on",
      },
    });
  });

  it("reads a sparse volume with marks of its own", () => {
    expect(zvol("get-volume-sparse", "tank/zfsilo/v1")).toMatchObject({
      refreservationBytes: 0n,
      volblocksizeBytes: 16384n,
      owner: { volume: "vol_a", cluster: "cl_test" },
    });
  });

  it("reads a clone's origin", () => {
    expect(zvol("get-volume-clone", "tank/zfsilo/c1").origin).toBe("tank/zfsilo/v1@s1");
  });

  it("reads a volume that nobody marked", () => {
    const plain = zvol("get-volume-plain", "tank/plain");
    expect(plain).not.toHaveProperty("owner");
    expect(plain).not.toHaveProperty("formatted");
  });

  it("lists the volumes of a parent", () => {
    expect([...parseProperties(read("get-parent-children")).keys()]).toEqual([
      "tank/zfsilo/c1",
      "tank/zfsilo/v1",
      "tank/zfsilo/v2",
    ]);
    expect(parseProperties(read("get-parent-empty")).size).toBe(0);
  });

  it("reads space", () => {
    expect(parseSpace(parseProperties(read("get-space")).get("tank/zfsilo") ?? {})).toMatchObject({
      type: "filesystem",
      availableBytes: 7693137920n,
      quotaBytes: 0n,
    });
  });

  it.each(["tank/z1\tvolsize\t1", "\tvolsize\t1\t-", "no tabs at all"])("refuses %j", (line) => {
    expect(() => parseProperties(line)).toThrow();
  });

  it("refuses a volume without its size", () => {
    const properties = { ...parseProperties(read("get-volume-thick")).get("tank/zfsilo/v2") };
    properties["volsize"] = { value: "-", source: "-" };
    expect(() => parseZvol(parseDatasetName("tank/zfsilo/v2"), properties)).toThrow();
  });
});

describe("zpool list", () => {
  it("reads a pool", () => {
    expect(parsePools(read("list-props"))).toEqual([
      {
        name: "tank",
        guid: "1644952445162711370",
        sizeBytes: 8053063680n,
        allocatedBytes: 288768n,
        freeBytes: 8052774912n,
        health: "ONLINE",
        readonly: false,
      },
    ]);
  });

  it("reads a broken pool", () => {
    expect(parsePools("tank\t1\t-\t-\t-\tFAULTED\t-\n")[0]).toMatchObject({ health: "FAULTED", sizeBytes: 0n });
    expect(parsePools("")).toEqual([]);
  });

  it("refuses a line with a column missing", () => {
    expect(() => parsePools("tank\t1\t2\n")).toThrow();
  });
});
