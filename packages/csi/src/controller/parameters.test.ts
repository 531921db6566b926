import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { mutableParameterSchema, parameterSchema, parseMutableParameters, parseParameters, parseSnapshotParameters, snapshotParameterSchema } from "./parameters.ts";

describe("parseParameters", () => {
  it("fills in what is not said", () => {
    expect(parseParameters({}, {})).toEqual({
      host: "",
      pool: "",
      authentication: "chap",
      sparse: false,
      copyMode: "clone",
      zfsOptions: {},
      mkfsOptions: {},
      hostLabels: {},
      labels: {},
    });
  });

  it("sorts what is said", () => {
    const given = {
      host: "hosts/give",
      pool: "tank",
      sparse: "true",
      "zfs.compression": "lz4",
      "mkfs.inode_size": "512",
      "csi.storage.k8s.io/pvc/name": "data",
    };
    expect(parseParameters(given, { "zfs.compression": "zstd" })).toMatchObject({
      host: "give",
      pool: "tank",
      sparse: true,
      zfsOptions: { compression: "zstd" },
      mkfsOptions: { inode_size: "512" },
      labels: { "csi.storage.k8s.io/pvc/name": "data" },
    });
    expect(parseParameters({ "hostLabel.zone": "a" }, {}).hostLabels).toEqual({ zone: "a" });
  });

  it.each([
    [{ colour: "red", size: "1" }, "parameters: unknown: colour, size"],
    [{ "zfs.encryption": "on" }, "parameters: unknown: zfs.encryption"],
    [{ sparse: "yes" }, 'parameters["sparse"]'],
    [{ transport: "nvme" }, 'parameters["transport"]'],
    [{ pool: "" }, 'parameters["pool"]'],
    [{ host: "give", "hostLabel.zone": "a" }, "exclude each other"],
  ])("refuses %j", (parameters, message) => {
    expect(() => parseParameters(parameters, {})).toThrow(message);
  });

  it("lets nothing change that cannot", () => {
    expect(() => parseMutableParameters({ "zfs.volblocksize": "8192" })).toThrow("mutable_parameters: unknown: zfs.volblocksize");
    expect(() => parseMutableParameters({ sparse: "true" })).toThrow("unknown: sparse");
  });

  it("knows a snapshot's", () => {
    expect(parseSnapshotParameters({ consistency: "filesystem", "csi.storage.k8s.io/volumesnapshot/name": "s" })).toEqual({
      consistency: "filesystem",
      labels: { "csi.storage.k8s.io/volumesnapshot/name": "s" },
    });
    expect(() => parseSnapshotParameters({ consistency: "perfect" })).toThrow("consistency");
  });
});

describe("docs/csi.md", () => {
  const text = readFileSync(new URL("../../../../docs/csi.md", import.meta.url), "utf8");

  /** The names in the first column of the table under a heading. */
  function documented(heading: string): string[] {
    const section = text.split(`\n### ${heading}\n`)[1]?.split("\n#")[0] ?? "";
    return [...section.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name!).sort();
  }

  const own = (names: readonly string[]): string[] => names.filter((name) => !name.startsWith("csi.storage.k8s.io/")).sort();

  it("has a row for each parameter", () => {
    expect(documented("StorageClass")).toEqual([...own(Object.keys(parameterSchema.shape)), "hostLabel.KEY"].sort());
    expect(documented("VolumeAttributesClass")).toEqual(own(Object.keys(mutableParameterSchema.shape)));
    expect(documented("VolumeSnapshotClass and VolumeGroupSnapshotClass")).toEqual(own(Object.keys(snapshotParameterSchema.shape)));
  });

  it.each(Object.entries(parameterSchema.shape).filter(([name]) => !name.includes("/")))("gives the default of %s", (name, schema) => {
    const row = text.split("\n").find((line) => line.startsWith(`| \`${name}\``));
    const left = schema.safeParse(undefined).data;
    if (typeof left === "string") expect(row).toContain(`| \`${left}\` |`);
    else expect(row).not.toMatch(/\| `[^`]+` \|$/);
  });
});
