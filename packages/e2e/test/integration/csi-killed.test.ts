import { Code, ConnectError } from "@connectrpc/connect";
import { freePort } from "@zfsilo/microvm";
import { SimWorld } from "@zfsilo/sim-host";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startService, type ServiceProcess } from "../../src/api/process.ts";
import { connectTo } from "../../src/api/system.ts";
import { mountCapability } from "../../src/csi/capability.ts";
import { DriverProcess } from "../../src/csi/driver-process.ts";
import { csiClients, type CsiClients } from "../../src/csi/running-driver.ts";

// The driver, or the control plane, dies of SIGKILL in the middle of each call of a claim's life; the call is repeated until
// it succeeds, as the sidecars and kubelet do.

const mib = 1n << 20n;
const nodeId = "hst_take";
const stagingTargetPath = "/mnt/globalmount";
const targetPath = "/mnt/pod";
const volumeCapability = mountCapability();
const capacityRange = { requiredBytes: 64n * mib };

let directory: string;
let socket: string;
let port: number;
let service: ServiceProcess;
let driver: DriverProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "zfsilo-csi-killed-"));
  socket = join(directory, "csi.sock");
  port = await freePort();
  service = await serve();
  driver = new DriverProcess([
    `--endpoint=unix://${socket}`,
    `--control-plane=http://127.0.0.1:${port}`,
    `--token-file=${join(directory, ".zfsilo/admin.token")}`,
    `--node-id=${nodeId}`,
  ]);
  await driver.start();
}, 120_000);
afterAll(async () => {
  await driver.kill();
  await service.remove();
});

/** Where the driver finds it again after its death. */
const serve = (): Promise<ServiceProcess> => startService({ ZFSILO_LISTEN: `127.0.0.1:${port}` }, directory);

const victims = {
  driver: async () => {
    await driver.kill();
    await driver.start();
  },
  "control plane": async () => {
    service.child.kill("SIGKILL");
    service = await serve();
  },
} as const;

interface Made {
  volumeId: string;
  snapshotId: string;
  restoredId: string;
  groupSnapshotId: string;
  /** The group's snapshot of the volume, taken after the other one. */
  laterId: string;
}

/** A claim's life, call by call. */
const life: readonly (readonly [string, (csi: CsiClients, made: Made) => Promise<unknown>])[] = [
  [
    "CreateVolume",
    async ({ controller }, made) => {
      const { volume } = await controller.createVolume({ name: "claim", capacityRange, volumeCapabilities: [volumeCapability] });
      made.volumeId = volume!.volumeId;
    },
  ],
  ["ControllerPublishVolume", ({ controller }, { volumeId }) => controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability })],
  ["NodeStageVolume", ({ node }, { volumeId }) => node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability })],
  [
    "NodePublishVolume",
    ({ node }, { volumeId }) => node.nodePublishVolume({ volumeId, stagingTargetPath, targetPath, volumeCapability }),
  ],
  [
    "ControllerExpandVolume",
    ({ controller }, { volumeId }) => controller.controllerExpandVolume({ volumeId, capacityRange: { requiredBytes: 128n * mib } }),
  ],
  ["NodeExpandVolume", ({ node }, { volumeId }) => node.nodeExpandVolume({ volumeId, volumePath: targetPath })],
  ["NodeGetVolumeStats", ({ node }, { volumeId }) => node.nodeGetVolumeStats({ volumeId, volumePath: targetPath })],
  [
    "ControllerModifyVolume",
    ({ controller }, { volumeId }) => controller.controllerModifyVolume({ volumeId, mutableParameters: { "zfs.compression": "zstd" } }),
  ],
  [
    "CreateSnapshot",
    async ({ controller }, made) => {
      const { snapshot } = await controller.createSnapshot({ name: "snap", sourceVolumeId: made.volumeId });
      made.snapshotId = snapshot!.snapshotId;
    },
  ],
  [
    "CreateVolume of a snapshot",
    async ({ controller }, made) => {
      const volumeContentSource = { type: { case: "snapshot", value: { snapshotId: made.snapshotId } } } as const;
      const { volume } = await controller.createVolume({ name: "restored", volumeCapabilities: [volumeCapability], volumeContentSource });
      made.restoredId = volume!.volumeId;
    },
  ],
  [
    "CreateVolumeGroupSnapshot",
    async ({ groups }, made) => {
      const { groupSnapshot } = await groups.createVolumeGroupSnapshot({ name: "group", sourceVolumeIds: [made.volumeId, made.restoredId] });
      made.groupSnapshotId = groupSnapshot!.groupSnapshotId;
      made.laterId = groupSnapshot!.snapshots.find(({ sourceVolumeId }) => sourceVolumeId === made.volumeId)!.snapshotId;
    },
  ],
  ["the calls that only read", readEverything],
  ["DeleteVolumeGroupSnapshot", ({ groups }, { groupSnapshotId }) => groups.deleteVolumeGroupSnapshot({ groupSnapshotId })],
  ["DeleteVolume of the restored", ({ controller }, { restoredId }) => controller.deleteVolume({ volumeId: restoredId })],
  ["DeleteSnapshot", ({ controller }, { snapshotId }) => controller.deleteSnapshot({ snapshotId })],
  ["NodeUnpublishVolume", ({ node }, { volumeId }) => node.nodeUnpublishVolume({ volumeId, targetPath })],
  ["NodeUnstageVolume", ({ node }, { volumeId }) => node.nodeUnstageVolume({ volumeId, stagingTargetPath })],
  ["ControllerUnpublishVolume", ({ controller }, { volumeId }) => controller.controllerUnpublishVolume({ volumeId, nodeId })],
  ["DeleteVolume", ({ controller }, { volumeId }) => controller.deleteVolume({ volumeId })],
];

/** All at once: each has to answer by itself when it is repeated. */
async function readEverything({ identity, controller, node, groups, metadata }: CsiClients, { volumeId, snapshotId, groupSnapshotId, laterId }: Made): Promise<void> {
  await Promise.all([
    identity.getPluginInfo({}),
    identity.getPluginCapabilities({}),
    identity.probe({}),
    controller.controllerGetCapabilities({}),
    controller.validateVolumeCapabilities({ volumeId, volumeCapabilities: [volumeCapability] }),
    controller.controllerGetVolume({ volumeId }),
    controller.listVolumes({}),
    controller.getCapacity({}),
    controller.listSnapshots({}),
    controller.getSnapshot({ snapshotId }),
    groups.groupControllerGetCapabilities({}),
    groups.getVolumeGroupSnapshot({ groupSnapshotId }),
    node.nodeGetCapabilities({}),
    node.nodeGetInfo({}),
    drain(metadata.getMetadataAllocated({ snapshotId })),
    drain(metadata.getMetadataDelta({ baseSnapshotId: snapshotId, targetSnapshotId: laterId })),
  ]);
}

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _message of stream);
}

/** What a caller repeats: the connection broke, the control plane is away, or what was begun still runs. */
const passing = new Set([Code.Unavailable, Code.Aborted, Code.DeadlineExceeded, Code.Canceled, Code.Unknown]);

async function untilDone(call: () => Promise<unknown>): Promise<void> {
  const until = Date.now() + 30_000;
  for (;;) {
    try {
      await call();
      return;
    } catch (error) {
      const { code } = ConnectError.from(error);
      // A connection that is cut while it is read is INTERNAL to the client.
      if ((!passing.has(code) && code !== Code.Internal) || Date.now() > until) throw error;
      await sleep(50);
    }
  }
}

describe.each(Object.entries(victims))("when the %s is killed in the middle of each call", (_victim, killAndRestart) => {
  it("the repeated call succeeds, and nothing is left at the end", { timeout: 600_000 }, async () => {
    const made: Made = { volumeId: "", snapshotId: "", restoredId: "", groupSnapshotId: "", laterId: "" };
    let broken = 0;
    for (const [index, [name, call]] of life.entries()) {
      const first = { answered: false };
      const ended = call(csiClients(socket), made).then(
        () => {
          first.answered = true;
        },
        () => undefined,
      );
      // From before anything has arrived to when most of it is done.
      await sleep((index * 7) % 40);
      if (!first.answered) broken += 1;
      await killAndRestart();
      await ended;
      await untilDone(() => call(csiClients(socket), made)).catch((error: unknown) => {
        throw new Error(`${name} does not succeed again`, { cause: error });
      });
    }
    // Otherwise this test has shown nothing.
    expect(broken).toBeGreaterThan(life.length / 3);

    const { volumes } = connectTo(service.address, service.token);
    expect((await volumes.listVolumes({})).volumes).toEqual([]);
    expect(await (await fetch(`http://${service.address}/readyz`)).text()).toContain("open operations: 0\n");
  });
});

it("left no trace on the machines", async () => {
  await driver.kill();
  await service.terminate();
  const world = await SimWorld.open({ file: join(directory, ".zfsilo/simulated-hosts.jsonl") });
  const pictures = JSON.stringify(world.snapshot());
  await world.close();
  expect(pictures).toContain("tank");
  expect(pictures).not.toMatch(/iqn\.2026-01\.io\.zfsilo:[0-9a-f]{16}/);
  expect(pictures).not.toContain("/mnt/globalmount");
  expect(pictures).not.toContain("/mnt/pod");
  expect(pictures).not.toMatch(/tank\/zfsilo\/[0-9a-f]{16}/);
  await rm(directory, { recursive: true, force: true });
});
