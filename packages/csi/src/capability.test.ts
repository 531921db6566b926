import { create } from "@bufbuild/protobuf";
import { csi } from "@zfsilo/api";
import { describe, expect, it } from "vitest";
import { accessModes, parseCapabilities, parseCapability } from "./capability.ts";

const { VolumeCapability_AccessMode_Mode: Mode } = csi;
type ModeName = keyof typeof accessModes;

function capability(kind: "mount" | "block", mode: ModeName | "UNKNOWN", mount: { fsType?: string; mountFlags?: string[]; volumeMountGroup?: string } = {}) {
  return create(csi.VolumeCapabilitySchema, {
    accessType: kind === "mount" ? { case: "mount", value: mount } : { case: "block", value: {} },
    accessMode: { mode: Mode[mode] },
  });
}

describe("access modes", () => {
  const plain = { readOnly: false, multiNode: false, singleUser: false };

  it.each([
    ["mount", "SINGLE_NODE_WRITER", plain],
    ["mount", "SINGLE_NODE_SINGLE_WRITER", { ...plain, singleUser: true }],
    ["mount", "SINGLE_NODE_MULTI_WRITER", plain],
    ["mount", "SINGLE_NODE_READER_ONLY", { ...plain, readOnly: true }],
    ["block", "SINGLE_NODE_WRITER", plain],
    ["block", "SINGLE_NODE_SINGLE_WRITER", { ...plain, singleUser: true }],
    ["block", "SINGLE_NODE_MULTI_WRITER", plain],
    ["block", "SINGLE_NODE_READER_ONLY", { ...plain, readOnly: true }],
    ["block", "MULTI_NODE_READER_ONLY", { ...plain, readOnly: true, multiNode: true }],
    ["block", "MULTI_NODE_MULTI_WRITER", { ...plain, multiNode: true }],
  ] as const)("%s %s", (kind, mode, use) => {
    expect(parseCapability(capability(kind, mode))).toMatchObject({ kind: kind === "mount" ? "filesystem" : "block", ...use });
  });

  it.each([
    ["mount", "MULTI_NODE_READER_ONLY", "lost when two machines mount them"],
    ["mount", "MULTI_NODE_SINGLE_WRITER", "lost when two machines mount them"],
    ["mount", "MULTI_NODE_MULTI_WRITER", "lost when two machines mount them"],
    ["block", "MULTI_NODE_SINGLE_WRITER", "caches know nothing"],
    ["block", "UNKNOWN", "access_mode: is required"],
  ] as const)("refuses %s %s with its reason", (kind, mode, reason) => {
    expect(() => parseCapability(capability(kind, mode))).toThrow(reason);
  });

  it("has every mode of the spec", () => {
    const names = Object.keys(Mode).filter((name) => Number.isNaN(Number(name)) && name !== "UNKNOWN");
    expect(Object.keys(accessModes).sort()).toEqual(names.sort());
  });
});

describe("parseCapability", () => {
  it("takes ro out of the mount flags", () => {
    const use = parseCapability(capability("mount", "SINGLE_NODE_WRITER", { fsType: "xfs", mountFlags: ["ro", "noatime"] }));
    expect(use).toMatchObject({ fsType: "xfs", mountOptions: ["noatime"], readOnly: true });
  });

  it("refuses what is missing", () => {
    expect(() => parseCapability(undefined)).toThrow("volume_capability: is required");
    expect(() => parseCapability(create(csi.VolumeCapabilitySchema, { accessMode: { mode: Mode.SINGLE_NODE_WRITER } }))).toThrow("neither");
    expect(() => parseCapability(capability("mount", "SINGLE_NODE_WRITER", { volumeMountGroup: "1000" }))).toThrow("VOLUME_MOUNT_GROUP");
  });
});

describe("parseCapabilities", () => {
  it("wants one kind of volume, and one filesystem", () => {
    const mount = capability("mount", "SINGLE_NODE_WRITER");
    expect(() => parseCapabilities([])).toThrow("volume_capabilities: is required");
    expect(() => parseCapabilities([mount, capability("block", "SINGLE_NODE_WRITER")])).toThrow("a volume is one of them");
    const xfs = capability("mount", "SINGLE_NODE_WRITER", { fsType: "xfs" });
    expect(() => parseCapabilities([mount, xfs])).toThrow("different filesystems");
    expect(parseCapabilities([xfs, xfs])).toHaveLength(2);
  });
});
