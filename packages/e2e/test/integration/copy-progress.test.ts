import { CopyMode, OperationState, VolumeMode, type Operation } from "@zfsilo/api";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startSystem, type System } from "../../src/api/system.ts";

const mib = 1n << 20n;
let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => {
  await system.stop();
});

it("a full copy tells those who watch how far it is", async () => {
  const { volumes, operations, controlPlane } = system;
  const { volume } = await volumes.createVolume({ volumeId: "source", volume: { host: "hosts/hst_give", capacityBytes: 64n * mib, mode: VolumeMode.BLOCK } });
  const path = `/dev/zvol/${volume?.dataset ?? ""}`;
  const signal = new AbortController().signal;
  await controlPlane.world.executor("hst_give").files([{ op: "write", path, content: "x".repeat(256 * 1024) }], { signal });
  controlPlane.world.faults.add({ match: { program: "zfs", argvIncludes: ["receive"] }, effect: { kind: "delay", ms: 3_000 } });
  const source = { source: { case: "volume" as const, value: "volumes/source" }, copyMode: CopyMode.FULL };
  const copying = volumes.createVolume({ volumeId: "copy", volume: { sparse: true, source } });
  const running = async (): Promise<Operation[]> => (await operations.listOperations({ filter: 'kind = "volume.copy"' })).operations;
  await expect.poll(running, { timeout: 10_000, interval: 20 }).toHaveLength(1);
  const [{ name }] = (await running()) as [Operation];
  const seen: Operation[] = [];
  for await (const message of operations.watchOperation({ name })) if (message.operation !== undefined) seen.push(message.operation);
  const progress = seen.flatMap(({ steps }) => steps.filter((step) => step.progress !== undefined));
  expect(progress.map((step) => step.name)).toContain("copy snapshot");
  expect(progress[0]?.progress?.totalBytes).toBeGreaterThanOrEqual(256n * 1024n);
  expect(progress[0]?.progress?.doneBytes).toBe(0n);
  expect(seen.at(-1)?.state).toBe(OperationState.SUCCEEDED);
  expect((await copying).operation).toBe(name);
});
