import { afterEach, beforeEach, expect, it } from "vitest";
import { runningService, type RunningService } from "./running-service.ts";

// Containers write to a path after its mount is gone, and people unmount by hand (kubernetes#114652).

let service: RunningService;
const name = "volumes/one";
const at = { name, host: "hosts/take" };
const signal = new AbortController().signal;
const block = { mode: "VOLUME_MODE_BLOCK", filesystem: undefined };

beforeEach(async () => {
  service = await runningService();
});

afterEach(async () => {
  await service[Symbol.asyncDispose]();
});

async function byHand(...argv: [string, ...string[]]): Promise<void> {
  const { exitCode, stderr } = await service.plane.world.executor("take").run(argv, { signal });
  if (exitCode !== 0) throw new Error(stderr);
}

async function write(path: string): Promise<void> {
  await service.plane.world.executor("take").files([{ op: "write", path, content: "mine", create: { mode: 0o600 } }], { signal });
}

async function read(path: string): Promise<string | undefined> {
  const [file] = await service.plane.world.executor("take").files([{ op: "read", path, tolerate: ["ENOENT"] }], { signal });
  return file?.text;
}

it("unmounts and unstages where something lies beneath, which stays, and mounts nothing there again", async () => {
  await service.volume("one", "mounted");
  await byHand("umount", "/srv/one");
  await write("/srv/one/stray");
  await byHand("umount", "/mnt/one");
  await write("/mnt/one/stray");
  const unmounted = await service.call("VolumeService/UnmountVolume", { ...at, targetPath: "/srv/one" });
  expect(unmounted).toMatchObject({ volume: { attachments: [{ state: "ATTACHMENT_STATE_STAGED" }] } });
  const unstaged = await service.call("VolumeService/UnstageVolume", at);
  expect(unstaged).toMatchObject({ volume: { attachments: [{ state: "ATTACHMENT_STATE_CONNECTED" }] } });
  const synced = await service.call("VolumeService/SyncVolume", { name });
  expect(synced).not.toHaveProperty("differences");
  expect(await read("/srv/one/stray")).toBe("mine");
  expect(await read("/mnt/one/stray")).toBe("mine");
  await service.call("VolumeService/StageVolume", { ...at, stagingPath: "/mnt/one" });
  await service.call("VolumeService/MountVolume", { ...at, targetPath: "/srv/one" });
  expect(await read("/srv/one/stray")).toBeUndefined();
  await service.call("VolumeService/UnmountVolume", { ...at, targetPath: "/srv/one" });
  expect(await read("/srv/one/stray")).toBe("mine");
});

it("keeps a raw block target file that somebody filled, and mounts over it no more", async () => {
  await service.volume("one", "mounted", block);
  await byHand("umount", "/srv/one");
  await write("/srv/one");
  await service.call("VolumeService/UnmountVolume", { ...at, targetPath: "/srv/one" });
  expect(await read("/srv/one")).toBe("mine");
  await expect(service.call("VolumeService/MountVolume", { ...at, targetPath: "/srv/one" })).rejects.toThrow("the file is not empty");
  await service.call("VolumeService/UnstageVolume", at);
  await service.call("VolumeService/DisconnectVolume", at);
});
