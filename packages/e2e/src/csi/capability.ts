import { create } from "@bufbuild/protobuf";
import { csi } from "@zfsilo/api";

const { VolumeCapability_AccessMode_Mode: Mode } = csi;

export type ModeName = Exclude<keyof typeof Mode, number>;

export function mountCapability(fsType = "", mode: ModeName = "SINGLE_NODE_WRITER", mountFlags: readonly string[] = []): csi.VolumeCapability {
  return create(csi.VolumeCapabilitySchema, {
    accessType: { case: "mount", value: { fsType, mountFlags: [...mountFlags] } },
    accessMode: { mode: Mode[mode] },
  });
}

export function blockCapability(mode: ModeName = "SINGLE_NODE_WRITER"): csi.VolumeCapability {
  return create(csi.VolumeCapabilitySchema, { accessType: { case: "block", value: {} }, accessMode: { mode: Mode[mode] } });
}
