import type { LioExport, Mount, Session, Zvol } from "@zfsilo/host";
import type { HostId } from "@zfsilo/lib";

/** What was seen of a target host. A pool that is not imported says nothing about what it holds (I3). */
export interface TargetView {
  /** By pool name, for the pools that were looked at. */
  readonly pools: ReadonlyMap<string, PoolView>;
  /** By volume handle. */
  readonly exports: ReadonlyMap<string, LioExport>;
}

/** Zvols by dataset name. */
export type PoolView = ReadonlyMap<string, Zvol> | "not_imported";

/** What was seen of an initiator host. */
export interface InitiatorView {
  /** By target name. */
  readonly sessions: ReadonlyMap<string, Session>;
  readonly mounts: readonly Mount[];
}

/** Everything one cycle saw. A host that is absent did not answer. */
export interface Observation {
  readonly targets: ReadonlyMap<HostId, TargetView>;
  readonly initiators: ReadonlyMap<HostId, InitiatorView>;
}
