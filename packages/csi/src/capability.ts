import { csi } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";

const { VolumeCapability_AccessMode_Mode: Mode } = csi;

/** How a volume is to be used: a CSI capability that has been checked. */
export interface VolumeUse {
  readonly kind: "filesystem" | "block";
  /** Empty: not said. */
  readonly fsType: string;
  /** Without `ro` and `rw`. */
  readonly mountOptions: readonly string[];
  /** Of a filesystem: it is mounted read-only. Of raw block: the target refuses writes. */
  readonly readOnly: boolean;
  readonly multiNode: boolean;
  /** At most one target path on the node. */
  readonly singleUser: boolean;
}

interface AccessMode {
  readonly readOnly?: true;
  readonly multiNode?: true;
  readonly singleUser?: true;
  /** Why a kind of volume cannot be used this way. */
  readonly refused?: Readonly<Partial<Record<VolumeUse["kind"], string>>>;
}

const sharedFilesystem = "ext4 and xfs are lost when two machines mount them, and a reader beside a writer sees garbage";
const oneWriterAmongMany = "the readers' caches know nothing of what the writer changes";

/** What each access mode of the spec means here. */
export const accessModes = {
  SINGLE_NODE_WRITER: {},
  SINGLE_NODE_SINGLE_WRITER: { singleUser: true },
  SINGLE_NODE_MULTI_WRITER: {},
  SINGLE_NODE_READER_ONLY: { readOnly: true },
  MULTI_NODE_READER_ONLY: { readOnly: true, multiNode: true, refused: { filesystem: sharedFilesystem } },
  MULTI_NODE_SINGLE_WRITER: { multiNode: true, refused: { filesystem: sharedFilesystem, block: oneWriterAmongMany } },
  MULTI_NODE_MULTI_WRITER: { multiNode: true, refused: { filesystem: sharedFilesystem } },
} as const satisfies Record<Exclude<keyof typeof Mode, "UNKNOWN">, AccessMode>;

const modeNames = Object.keys(accessModes) as (keyof typeof accessModes)[];

/** Checks one capability. Throws invalid_argument with the reason of a refusal. */
export function parseCapability(capability: csi.VolumeCapability | undefined, field = "volume_capability"): VolumeUse {
  if (capability === undefined) throw refused(field, "is required");
  const { accessType } = capability;
  if (accessType.case === undefined) throw refused(field, "has neither block nor mount");
  const kind = accessType.case === "block" ? "block" : "filesystem";
  const name = modeName(capability.accessMode?.mode);
  const mode: AccessMode | undefined = name && accessModes[name];
  if (mode === undefined) throw refused(`${field}.access_mode`, "is required");
  const why = mode.refused?.[kind];
  if (why !== undefined) throw refused(`${field}.access_mode`, `${name} is not available for a ${kind} volume: ${why}`);
  const mount = accessType.case === "mount" ? accessType.value : undefined;
  if (mount !== undefined && mount.volumeMountGroup !== "") {
    throw refused(`${field}.mount.volume_mount_group`, "is not available: VOLUME_MOUNT_GROUP is not among the capabilities");
  }
  const flags = mount?.mountFlags ?? [];
  return {
    kind,
    fsType: mount?.fsType ?? "",
    mountOptions: flags.filter((flag) => flag !== "ro" && flag !== "rw"),
    readOnly: mode.readOnly === true || flags.includes("ro"),
    multiNode: mode.multiNode === true,
    singleUser: mode.singleUser === true,
  };
}

/** Checks all that a volume is to be used as: they must agree in what the volume is made as. */
export function parseCapabilities(capabilities: readonly csi.VolumeCapability[]): readonly [VolumeUse, ...VolumeUse[]] {
  const [first, ...others] = capabilities.map((capability, index) => parseCapability(capability, `volume_capabilities[${index}]`));
  if (first === undefined) throw refused("volume_capabilities", "is required");
  if (others.some(({ kind }) => kind !== first.kind)) {
    throw refused("volume_capabilities", "ask for a filesystem and for raw block: a volume is one of them");
  }
  if (others.some(({ fsType }) => fsType !== first.fsType)) {
    throw refused("volume_capabilities", "ask for different filesystems: a volume has one");
  }
  return [first, ...others];
}

function modeName(mode: number | undefined): keyof typeof accessModes | undefined {
  return modeNames.find((name) => Mode[name] === mode);
}

function refused(field: string, problem: string): StorageError {
  return new StorageError("invalid_argument", `${field}: ${problem}`, { details: { field } });
}
