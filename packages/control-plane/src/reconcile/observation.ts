import type { LioExport, Mount, Session, ZfsSnapshot, Zvol } from "@zfsilo/host";
import type { HostId } from "@zfsilo/lib";
import type { LookFailure } from "../machines/look.ts";
import type { PortalRef } from "../store/model.ts";

/** What was seen of a target host. A pool that is not imported says nothing about what it holds (I3). */
export interface TargetView {
  /** By pool name, for the pools that were looked at. */
  readonly pools: ReadonlyMap<string, PoolView>;
  /** Raw size by pool name, of the pools that were read. A look at one volume leaves them out. */
  readonly poolBytes: ReadonlyMap<string, bigint>;
  /** By full name; of the pools that were read. A look at one volume leaves them out. */
  readonly snapshots: ReadonlyMap<string, ZfsSnapshot>;
  /** By volume handle. */
  readonly exports: ReadonlyMap<string, LioExport>;
  /** Where the host's record says that it listens. */
  readonly portals: readonly PortalRef[];
}

/** Zvols by dataset name. */
export type PoolView = ReadonlyMap<string, Zvol> | "not_imported" | "suspended";

/** What was seen of an initiator host. */
export interface InitiatorView {
  /** By target name, through the host's own interface. */
  readonly sessions: ReadonlyMap<string, Session>;
  /** In mount order, by the path they lie on. */
  readonly mounts: ReadonlyMap<string, readonly Mount[]>;
  /** Targets with a node record. */
  readonly records: ReadonlySet<string>;
  /** The name it logs in with; empty when it has none. */
  readonly initiatorName: string;
  /** The name that the host's record gives it; empty when that is left to the machine. */
  readonly statedName: string;
  /** Sizes of filesystems by device number, where they were read: only a look at one volume does. */
  readonly filesystemBytes: ReadonlyMap<string, bigint>;
}

export interface HostFailure {
  readonly kind: LookFailure;
  readonly error: unknown;
}

/** Everything one cycle saw. A host that is absent did not answer, or was not looked at. */
export interface Observation {
  readonly targets: ReadonlyMap<HostId, TargetView>;
  readonly initiators: ReadonlyMap<HostId, InitiatorView>;
  /** Why a host that was looked at is absent. */
  readonly failures: ReadonlyMap<HostId, HostFailure>;
}
