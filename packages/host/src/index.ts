export { BlockDevices, type BlockDevice, type BlockDeviceOptions } from "./block-device/block-device.ts";
export { Filesystems, type MakeFilesystem } from "./filesystem/filesystem.ts";
export { ext4GrowthLimit, ext4LayoutFor, largestExt4, type Ext4Layout } from "./filesystem/ext4-layout.ts";
export { mkfsOptions, parseMkfsOptions, type MkfsOptions } from "./filesystem/mkfs-options.ts";
export {
  describeProbe,
  fsTypes,
  isFilesystem,
  parseFsType,
  type CheckResult,
  type FsStats,
  type FsType,
  type Probe,
} from "./filesystem/types.ts";
export { Iscsi, type IscsiOptions, type SessionKey, type StoredNodeRecord } from "./iscsiadm/iscsi.ts";
export type { Interface, NodeCredentials, NodeRecord, NodeRecordKey } from "./iscsiadm/record.ts";
export type { Session, SessionDevice } from "./iscsiadm/sessions.ts";
export type { Backstore, ExportKey, ExportSpec, LioExport, LioInitiator } from "./lio/export.ts";
export { LioTarget, type Chap, type GenerationMark, type InitiatorSpec } from "./lio/lio-target.ts";
export { formatPortal, parseIqn, parsePortal, type Iqn, type Portal } from "./lio/names.ts";
export { Freezer, type FreezeOptions } from "./mount/freezer.ts";
export { assertUnderRoots, parseHostPath, type HostPath } from "./mount/host-path.ts";
export { parseMountOptions } from "./mount/mount-options.ts";
export { readHolders } from "./holders/holders.ts";
export { mountsOfDevice, type Mount } from "./mount/mountinfo.ts";
export { Mounts, type BindMount, type DeviceMount, type MountsOptions } from "./mount/mounts.ts";
export type { CheckState, HostCheck } from "./preflight/check.ts";
export { identityCheck, readIdentity, type HostIdentity } from "./preflight/identity.ts";
export { checkHost, type HostRequirements } from "./preflight/preflight.ts";
export { ZfsClones, type CloneSpec } from "./zfs/clones.ts";
export { ZfsCopies, type CopyProgress, type CopySpec } from "./zfs/copies.ts";
export {
  encryptionAlgorithms,
  parseEncryptionAlgorithm,
  wrappingKeyBytes,
  ZfsKeys,
  type EncryptionAlgorithm,
  type EncryptionSpec,
  type KeySource,
} from "./zfs/encryption.ts";
export { childOf, parentOf, parseDatasetName, parsePoolName, poolOf, zvolPath, type DatasetName, type PoolName } from "./zfs/names.ts";
export {
  isZfsOptionName,
  parseZfsOptions,
  requireMutableZfsOptions,
  zfsOptions,
  type ZfsOptionName,
  type ZfsOptions,
} from "./zfs/options.ts";
export type { DatasetSpace, Owner, Pool, Zvol } from "./zfs/parse.ts";
export { ZfsRanges, type RangeOptions } from "./zfs/ranges.ts";
export type { ByteRange } from "./zfs/range-parser.ts";
export {
  datasetOf,
  handleOf,
  parseHoldTag,
  parseSnapshotName,
  snapshotOf,
  type HoldTag,
  type SnapshotName,
} from "./zfs/snapshot-name.ts";
export type { ZfsSnapshot } from "./zfs/snapshot-parse.ts";
export {
  SnapshotInUseError,
  ZfsSnapshots,
  type Destroyed,
  type ExpectedSnapshot,
  type SnapshotProperties,
} from "./zfs/snapshots.ts";
export { Zfs, type ExpectedOwner, type UserProperties, type UserPropertyName, type VolumeSpec } from "./zfs/zfs.ts";
export { largestThickVolume, thickReservation, type PoolLayout, type StripeLayout } from "./zpool/reservation.ts";
export { stripesOf, type PoolStatus, type ScrubStatus, type VdevStatus } from "./zpool/status.ts";
export { Zpools, type PoolFacts } from "./zpool/zpools.ts";
