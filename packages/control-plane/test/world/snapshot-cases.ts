import { requestCopy } from "../../src/volume/copy.ts";
import { requestDelete } from "../../src/volume/delete.ts";
import { requestCreateGroupSnapshot, requestDeleteGroupSnapshot } from "../../src/volume/group-snapshot.ts";
import { requestRollback } from "../../src/volume/rollback.ts";
import { requestCreateSnapshot, requestDeleteSnapshot, requestHold, requestRelease } from "../../src/volume/snapshot.ts";
import { requestUpdate } from "../../src/volume/update.ts";
import type { RequestDeps } from "../../src/volume/volume-requests.ts";
import type { Case } from "./cases.ts";
import { copy, copyInput, first, group, groupInput, second, snapshotInput, subject, type Rung, type VolumeKind } from "./ladder.ts";
import type { World } from "./world.ts";

type Then = (world: World) => Promise<void>;

interface Plan extends Omit<Case, "ground" | "leadsTo"> {
  /** Default ext4. */
  readonly on?: VolumeKind;
  readonly rung?: Exclude<Rung, "absent">;
  readonly then?: Then;
  readonly leadsTo?: Case["leadsTo"];
}

const taken: Then = async ({ requests }) => {
  await requestCreateSnapshot(requests, snapshotInput(first));
};
const takenTwice: Then = async (world) => {
  await taken(world);
  await requestCreateSnapshot(world.requests, snapshotInput(second));
};
const cloned: Then = async (world) => {
  await taken(world);
  await requestCopy(world.requests, copyInput({ kind: "snapshot", id: first, copyMode: "clone" }));
};

const editSubject = (r: RequestDeps): Promise<unknown> => requestUpdate(r, subject, { revision: 0, displayName: "another" });
const holdFirst = (r: RequestDeps): Promise<unknown> => requestHold(r, first, "another");
const editCopy = (r: RequestDeps): Promise<unknown> => requestUpdate(r, copy, { revision: 0, displayName: "another" });

const plans: readonly Plan[] = [
  {
    name: "take a snapshot",
    kind: "snapshot.create",
    rung: "mounted",
    request: (r) => requestCreateSnapshot(r, snapshotInput(first)),
    different: editSubject,
  },
  {
    name: "take a snapshot of a frozen filesystem",
    kind: "snapshot.create",
    rung: "mounted",
    request: (r) => requestCreateSnapshot(r, snapshotInput(first, "filesystem")),
    different: editSubject,
  },
  {
    name: "delete a snapshot",
    kind: "snapshot.delete",
    then: taken,
    request: (r) => requestDeleteSnapshot(r, first, { allowMissing: true, tombstone: false }),
    different: holdFirst,
  },
  {
    name: "hide a snapshot that has a clone",
    kind: "snapshot.delete",
    then: cloned,
    request: (r) => requestDeleteSnapshot(r, first, { allowMissing: true, tombstone: true }),
    different: holdFirst,
  },
  {
    name: "hold a snapshot",
    kind: "snapshot.hold",
    then: taken,
    request: (r) => requestHold(r, first, "backup"),
    different: holdFirst,
  },
  {
    name: "release a snapshot",
    kind: "snapshot.release",
    then: async (world) => {
      await taken(world);
      await requestHold(world.requests, first, "backup");
    },
    request: (r) => requestRelease(r, first, "backup"),
    different: holdFirst,
  },
  {
    name: "roll back",
    kind: "volume.rollback",
    then: takenTwice,
    request: (r) => requestRollback(r, subject, { snapshotId: first, destroyLater: true }),
    different: editSubject,
  },
  {
    name: "take a group of snapshots",
    kind: "groupSnapshot.create",
    rung: "mounted",
    request: (r) => requestCreateGroupSnapshot(r, groupInput()),
    different: editSubject,
  },
  {
    name: "take a group of snapshots of frozen filesystems",
    kind: "groupSnapshot.create",
    rung: "mounted",
    request: (r) => requestCreateGroupSnapshot(r, groupInput("filesystem")),
    different: editSubject,
  },
  {
    name: "delete a group of snapshots",
    kind: "groupSnapshot.delete",
    then: async ({ requests }) => {
      await requestCreateGroupSnapshot(requests, groupInput());
    },
    request: (r) => requestDeleteGroupSnapshot(r, group, true),
    different: (r) => requestDeleteGroupSnapshot(r, group, false),
  },
  {
    name: "clone a snapshot",
    kind: "volume.clone",
    then: taken,
    request: (r) => requestCopy(r, copyInput({ kind: "snapshot", id: first, copyMode: "clone" })),
    different: editCopy,
  },
  {
    name: "clone a volume",
    kind: "volume.clone",
    rung: "mounted",
    request: (r) => requestCopy(r, copyInput({ kind: "volume", id: subject, copyMode: "clone" })),
    different: editCopy,
  },
  {
    name: "clone an encrypted volume",
    kind: "volume.clone",
    on: "encrypted",
    request: (r) => requestCopy(r, copyInput({ kind: "volume", id: subject, copyMode: "clone" })),
    different: editCopy,
  },
  {
    name: "copy a snapshot",
    kind: "volume.copy",
    then: taken,
    request: (r) => requestCopy(r, copyInput({ kind: "snapshot", id: first, copyMode: "full" })),
    different: editCopy,
  },
  {
    name: "copy a volume",
    kind: "volume.copy",
    rung: "mounted",
    request: (r) => requestCopy(r, copyInput({ kind: "volume", id: subject, copyMode: "full" })),
    different: editCopy,
  },
  {
    name: "delete with its snapshots",
    kind: "volume.delete",
    then: takenTwice,
    request: (r) => requestDelete(r, subject, true, { snapshotPolicy: "delete" }),
    different: editSubject,
    leadsTo: "absent",
  },
  {
    name: "delete by handing its snapshots to a clone",
    kind: "volume.delete",
    then: cloned,
    request: (r) => requestDelete(r, subject, true, { snapshotPolicy: "promote_clone" }),
    different: editSubject,
    leadsTo: "absent",
  },
  {
    name: "delete the clone that kept a tombstone",
    kind: "volume.delete",
    then: async (world) => {
      await cloned(world);
      await requestDeleteSnapshot(world.requests, first, { allowMissing: false, tombstone: true });
    },
    request: (r) => requestDelete(r, copy, true),
    different: editCopy,
  },
];

export const snapshotCases: readonly Case[] = plans.map(({ on = "ext4", rung = "initial", then, leadsTo, ...plan }) => ({
  ...plan,
  ground: { kind: on, rung, ...(then === undefined ? {} : { then }) },
  leadsTo: leadsTo ?? rung,
}));
