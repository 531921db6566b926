import type { KeyedMutex } from "@zfsilo/lib";
import type { Machines } from "../machines/machines.ts";
import type { GroupSnapshotStore, HostStore, LeftoverStore, SnapshotStore, VolumeStore } from "../store/stores.ts";
import type { CurrentRecords } from "./generation.ts";
import type { KeyRing } from "./key-ring.ts";

/** What steps act on. */
export interface WorkflowDeps {
  readonly volumes: VolumeStore;
  readonly snapshots: SnapshotStore;
  readonly groups: GroupSnapshotStore;
  readonly hosts: HostStore;
  readonly leftovers: LeftoverStore;
  readonly machines: Machines;
  /** Stamped on every dataset we make: two installations on one pool never touch each other's. */
  readonly clusterId: string;
  /** Encryption keys of calls that run now. */
  readonly keys: KeyRing;
  readonly current: CurrentRecords;
  /** Turns that a kernel wants (zvol creation, per pool) or that no volume owns (a path of a host), held for one step at most. */
  readonly turns: KeyedMutex;
}
