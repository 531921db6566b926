import { expect, it } from "vitest";
import { runningService, type RunningService } from "./running-service.ts";

const programs = ["zfs", "blkid", "cmp", "mkfs.ext4", "e2fsck", "mount", "dumpe2fs", "resize2fs"];

/** The programs that a staging ran on either host, in order. */
async function stage(service: RunningService): Promise<string[]> {
  const { operation } = await service.call("VolumeService/StageVolume", { name: "volumes/one", host: "hosts/take", stagingPath: "/mnt/one" });
  const { operation: done } = await service.call("OperationService/GetOperation", { name: operation });
  const { steps } = done as { readonly steps: readonly { readonly commands?: readonly { readonly command: string }[] }[] };
  const commands = steps.flatMap((step) => step.commands ?? []).map(({ command }) => command);
  return commands.map((command) => command.split(" ", 1).join("")).filter((word) => programs.includes(word));
}

it("stages a new volume with few commands, and checks the filesystem of one that was in use", async () => {
  await using service = await runningService();
  await service.volume("one", "connected");
  const first = await stage(service);
  expect(first).toEqual(["zfs", "blkid", "cmp", "mkfs.ext4", "blkid", "zfs", "mount"]);
  await service.call("VolumeService/UnstageVolume", { name: "volumes/one", host: "hosts/take" });
  expect(await stage(service)).toEqual(["blkid", "e2fsck", "mount", "dumpe2fs"]);
});
