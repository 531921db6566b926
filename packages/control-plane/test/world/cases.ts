import { parseDatasetName } from "@zfsilo/host";
import { StorageError } from "@zfsilo/lib";
import { reconcileVolume } from "../../src/reconcile/apply.ts";
import { expandVolume } from "../../src/workflow/expand-volume.ts";
import type { VolumeStatus } from "../../src/store/model.ts";
import { requestAdopt } from "../../src/volume/adopt.ts";
import { requestConnect, requestDisconnect } from "../../src/volume/connect.ts";
import { requestCreate } from "../../src/volume/create.ts";
import { requestDelete } from "../../src/volume/delete.ts";
import { requestPublish, requestUnpublish } from "../../src/volume/export.ts";
import { requestLoadKey, requestUnloadKey } from "../../src/volume/keys.ts";
import { requestMount, requestStage, requestUnmount, requestUnstage } from "../../src/volume/stage.ts";
import { requestUpdate } from "../../src/volume/update.ts";
import type { RequestDeps } from "../../src/volume/volume-requests.ts";
import {
  capacityBytes,
  createInput,
  encryptionKey,
  give,
  mountInput,
  stageInput,
  subject,
  take,
  targetPathOf,
  volumeKinds,
  type Ground,
  type Rung,
  type VolumeKind,
} from "./ladder.ts";
import { snapshotCases } from "./snapshot-cases.ts";
import type { World } from "./world.ts";

/** One workflow on one ground: the call that runs it, and where that leads. */
export interface Case {
  readonly name: string;
  /** The workflow it is about. */
  readonly kind: string;
  readonly ground: Ground;
  readonly request: (requests: RequestDeps) => Promise<unknown>;
  /** Another call on the same volume that must not run beside it. */
  readonly different: (requests: RequestDeps) => Promise<unknown>;
  /** The volume's status when the call has succeeded. */
  readonly leadsTo: VolumeStatus | "absent";
}

type Plan = Omit<Case, "name" | "ground" | "different"> & {
  readonly name: string;
  readonly on: readonly VolumeKind[];
  readonly rung: Rung;
  readonly then?: (world: World) => Promise<void>;
};

const everyKind = volumeKinds;
const grown = capacityBytes + (512n << 20n);

const powerCut = (...hosts: readonly string[]) => (world: World): Promise<void> => {
  for (const host of hosts) world.sim.powerCycle(host);
  return Promise.resolve();
};

/** What the reconciler does to the volume, as a call that fails when it fails. */
async function reconcile(requests: RequestDeps): Promise<unknown> {
  const { failure, findings } = await reconcileVolume(requests, subject, [take]);
  if (failure !== undefined) throw failure;
  const left = findings.find(({ outcome }) => outcome === "left");
  if (left !== undefined) throw new StorageError("unavailable", left.explanation);
  return findings;
}

async function letStrangerIn(world: World): Promise<void> {
  const { targetName } = await world.now.stores.volumes.get(subject);
  const acl = `/sys/kernel/config/target/iscsi/${targetName}/tpgt_1/acls/iqn.2026-01.io.zfsilo.sim:stranger`;
  await world.sim.executor("hst_give").files([{ op: "mkdir", path: acl }], { signal: new AbortController().signal });
}

const growth = (rung: Rung, on: readonly VolumeKind[]): Plan => ({
  name: `expand when ${rung}`,
  kind: expandVolume.kind,
  on,
  rung,
  request: (r) => requestUpdate(r, subject, { revision: 0, capacityBytes: grown }),
  leadsTo: rung,
});

/** What `zfs receive` leaves of a volume: another guid under the recorded name, with its marks. */
async function replaceZvol(world: World): Promise<void> {
  const { dataset, capacityBytes: size } = await world.now.stores.volumes.get(subject);
  const run = async (...argv: [string, ...string[]]): Promise<void> => {
    const { exitCode, stderr } = await world.sim.executor(give).run(argv, { signal: new AbortController().signal });
    if (exitCode !== 0) throw new Error(stderr);
  };
  await run("zfs", "destroy", dataset);
  await run("zfs", "create", "-s", "-V", size.toString(), "-o", "zfsilo:cluster=elsewhere", "-o", "zfsilo:volume=before", dataset);
}

async function adopt(requests: RequestDeps): Promise<unknown> {
  const { dataset } = await requests.volumes.get(subject);
  const { guid } = await (await requests.machines.get(give)).zfs.getVolume(parseDatasetName(dataset), { signal: new AbortController().signal });
  const made = { displayName: "", labels: {}, mode: "block", mountOptions: [], authentication: "chap" } as const;
  return requestAdopt(requests, { id: subject, hostId: give, dataset, guid, replaceMarks: true, made });
}

const plans: readonly Plan[] = [
  {
    name: "adopt a zvol that was restored",
    kind: "volume.adopt",
    on: ["block"],
    rung: "initial",
    then: replaceZvol,
    request: adopt,
    leadsTo: "initial",
  },
  {
    name: "publish",
    kind: "volume.publish",
    on: ["ext4"],
    rung: "initial",
    request: (r) => requestPublish(r, subject),
    leadsTo: "published",
  },
  {
    name: "connect",
    kind: "volume.connect",
    on: ["ext4", "block"],
    rung: "published",
    request: (r) => requestConnect(r, subject, take, false),
    leadsTo: "connected",
  },
  {
    name: "connect a reader",
    kind: "volume.connect",
    on: ["block"],
    rung: "published",
    request: (r) => requestConnect(r, subject, take, true),
    leadsTo: "connected",
  },
  {
    name: "stage for the first time",
    kind: "volume.stage",
    on: everyKind,
    rung: "connected",
    request: (r) => requestStage(r, subject, stageInput(subject)),
    leadsTo: "staged",
  },
  {
    name: "stage again",
    kind: "volume.stage",
    on: ["ext4"],
    rung: "staged",
    then: async (world) => {
      await requestUnstage(world.requests, subject, take);
    },
    request: (r) => requestStage(r, subject, stageInput(subject)),
    leadsTo: "staged",
  },
  {
    name: "mount",
    kind: "volume.mount",
    on: ["ext4", "block"],
    rung: "staged",
    request: (r) => requestMount(r, subject, mountInput(subject)),
    leadsTo: "mounted",
  },
  {
    name: "mount read-only at a second path",
    kind: "volume.mount",
    on: ["xfs"],
    rung: "mounted",
    request: (r) => requestMount(r, subject, { hostId: take, targetPath: "/mnt/second", readOnly: true }),
    leadsTo: "mounted",
  },
  growth("initial", ["ext4"]),
  growth("connected", ["block"]),
  growth("mounted", everyKind),
  {
    name: "set options",
    kind: "volume.set-options",
    on: ["ext4"],
    rung: "initial",
    request: (r) => requestUpdate(r, subject, { revision: 0, zfsOptions: { compression: "zstd" } }),
    leadsTo: "initial",
  },
  {
    name: "edit fields",
    kind: "volume.edit",
    on: ["ext4"],
    rung: "initial",
    request: (r) =>
      requestUpdate(r, subject, { revision: 0, displayName: "Ledger", labels: { team: "books" }, mountOptions: ["noatime", "nodev"] }),
    leadsTo: "initial",
  },
  {
    name: "restore the export after a power cut",
    kind: "volume.restore-export",
    on: ["ext4"],
    rung: "mounted",
    then: powerCut("hst_give"),
    request: (r) => requestPublish(r, subject),
    leadsTo: "mounted",
  },
  {
    name: "restore the session after a power cut",
    kind: "volume.restore-session",
    on: ["ext4"],
    rung: "connected",
    then: powerCut("hst_take"),
    request: (r) => requestConnect(r, subject, take, false),
    leadsTo: "connected",
  },
  {
    name: "restore the mounts after a power cut",
    kind: "volume.restore-mounts",
    on: ["ext4", "block"],
    rung: "mounted",
    then: async (world) => {
      await powerCut("hst_take")(world);
      await requestConnect(world.requests, subject, take, false);
    },
    request: (r) => requestMount(r, subject, mountInput(subject)),
    leadsTo: "mounted",
  },
  {
    name: "shut a stranger out",
    kind: "volume.shut-out",
    on: ["ext4"],
    rung: "connected",
    then: letStrangerIn,
    request: reconcile,
    leadsTo: "connected",
  },
  {
    name: "clean an initiator that returns after a fence",
    kind: "volume.clean-initiator",
    on: ["ext4", "block"],
    rung: "mounted",
    then: async (world) => {
      await requestDisconnect(world.requests, subject, take, true);
    },
    request: reconcile,
    leadsTo: "published",
  },
  {
    name: "unmount",
    kind: "volume.unmount",
    on: ["ext4", "block"],
    rung: "mounted",
    request: (r) => requestUnmount(r, subject, take, targetPathOf(subject)),
    leadsTo: "staged",
  },
  {
    name: "unstage",
    kind: "volume.unstage",
    on: ["ext4", "block"],
    rung: "staged",
    request: (r) => requestUnstage(r, subject, take),
    leadsTo: "connected",
  },
  {
    name: "disconnect",
    kind: "volume.disconnect",
    on: ["ext4", "block"],
    rung: "connected",
    request: (r) => requestDisconnect(r, subject, take, false),
    leadsTo: "published",
  },
  {
    name: "disconnect by force while mounted",
    kind: "volume.disconnect",
    on: ["ext4"],
    rung: "mounted",
    request: (r) => requestDisconnect(r, subject, take, true),
    leadsTo: "published",
  },
  {
    name: "unload the key",
    kind: "volume.unload-key",
    on: ["encrypted"],
    rung: "initial",
    request: (r) => requestUnloadKey(r, subject),
    leadsTo: "initial",
  },
  {
    name: "load the key",
    kind: "volume.load-key",
    on: ["encrypted"],
    rung: "initial",
    then: async (world) => {
      await requestUnloadKey(world.requests, subject);
    },
    request: (r) => requestLoadKey(r, subject, encryptionKey),
    leadsTo: "initial",
  },
  {
    name: "unpublish",
    kind: "volume.unpublish",
    on: ["ext4"],
    rung: "published",
    request: (r) => requestUnpublish(r, subject),
    leadsTo: "initial",
  },
  {
    name: "delete",
    kind: "volume.delete",
    on: ["ext4"],
    rung: "initial",
    request: (r) => requestDelete(r, subject, true),
    leadsTo: "absent",
  },
];

const different = (r: RequestDeps): Promise<unknown> => requestUpdate(r, subject, { revision: 0, displayName: "another" });

const creation: Case = {
  name: "create",
  kind: "volume.create",
  ground: { kind: "ext4", rung: "absent" },
  request: (r) => requestCreate(r, createInput(subject, "ext4")),
  different: (r) => requestCreate(r, { ...createInput(subject, "ext4"), hostId: give, capacityBytes: grown }),
  leadsTo: "initial",
};

const encryptedCreation: Case = {
  ...creation,
  name: "create an encrypted volume",
  ground: { kind: "encrypted", rung: "absent" },
  request: (r) => requestCreate(r, createInput(subject, "encrypted"), encryptionKey),
};

/** Every workflow at least once, and more often where the way through it differs. */
export const cases: readonly Case[] = [
  creation,
  encryptedCreation,
  ...plans.flatMap(({ name, on, rung, then, ...plan }) =>
    on.map((kind): Case => ({
      ...plan,
      name: on.length === 1 ? name : `${name} (${kind})`,
      ground: { kind, rung, ...(then === undefined ? {} : { then }) },
      different,
    })),
  ),
  ...snapshotCases,
];
