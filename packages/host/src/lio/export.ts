import type { VolumeHandle } from "@zfsilo/lib";
import type { Iqn, Portal } from "./names.ts";

export interface Backstore {
  readonly devicePath: string;
  /** The SCSI unit serial the initiator will see; ours is the volume's handle. */
  readonly serial: string;
  readonly enabled: boolean;
  /** The newest generation that was written with a change of access; absent on exports of before there was one. */
  readonly generation?: number;
}

export interface LioInitiator {
  readonly iqn: string;
  /** The LUN number it sees, undefined when no LUN is linked to its ACL. */
  readonly mappedLun?: number;
  /** The target refuses what it writes there; undefined as long as no LUN is linked. */
  readonly writeProtected?: boolean;
  readonly session: "active" | "none";
  /** The CHAP user it must present. */
  readonly userid?: string;
}

/** What is in configfs of one volume's export. Any part may be missing: a crash can stop between any two of them. */
export interface LioExport {
  readonly handle: VolumeHandle;
  readonly target?: Iqn;
  readonly backstore?: Backstore;
  /** Whether LUN 0 of the target is linked to the volume's backstore. */
  readonly linked: boolean;
  readonly portals: readonly Portal[];
  /** Whether the target portal group accepts logins. */
  readonly enabled: boolean;
  /** Whether an initiator must authenticate (CHAP). */
  readonly authentication: boolean;
  readonly initiators: readonly LioInitiator[];
}

export interface ExportKey {
  readonly handle: VolumeHandle;
  readonly target: Iqn;
}

export interface ExportSpec extends ExportKey {
  /** /dev/zvol/DATASET: the link, which finds the volume again after a reboot when zd numbers have moved. */
  readonly devicePath: string;
  readonly portals: readonly Portal[];
  /** Default true. */
  readonly authentication?: boolean;
  /** Written with the export, so that it tells how new it is. */
  readonly generation?: number;
}
