import { afterEach, beforeEach, expect, it } from "vitest";
import { runningService, type RunningService } from "./running-service.ts";

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
});
afterEach(() => service[Symbol.asyncDispose]());

const remove = (host: string, force = false) => service.call("HostService/DeleteHost", { name: `hosts/${host}`, force });

it("a machine that never returns is forced off everything, and forgotten", async () => {
  await service.volume("one", "mounted");
  await service.volume("two", "published");
  await service.volume("three", "staged");
  // It dies while it is given another volume: no attachment shows that yet.
  const { world } = service.plane;
  world.faults.add({ host: "take", match: { program: "iscsiadm", argvIncludes: ["--login"] }, effect: { kind: "hang" } });
  const dying = service.call("VolumeService/ConnectVolume", { name: "volumes/two", host: "hosts/take" }).catch((error: unknown) => error);
  const logins = () => world.calls("take").latest.filter((call) => "argv" in call && call.argv.includes("--login")).length;
  // Two of them connected what is mounted and staged.
  await expect.poll(logins).toBe(3);
  world.setOnline("take", false);

  await expect(remove("take")).rejects.toThrow(/HOST_IN_USE|volumes\/one/);
  await remove("take", true);
  expect(String(await dying)).toMatch(/aborted/);
  await expect(service.call("HostService/GetHost", { name: "hosts/take" })).rejects.toThrow("not_found");
  for (const id of ["one", "two", "three"]) {
    const name = `volumes/${id}`;
    await service.call("VolumeService/ConnectVolume", { name, host: "hosts/other" });
    await service.call("VolumeService/DisconnectVolume", { name, host: "hosts/other" });
    await service.call("VolumeService/UnpublishVolume", { name });
    await service.call("VolumeService/DeleteVolume", { name });
  }
  expect((await service.get("/readyz")).text).toContain("open operations: 0");
});

it("a host on which volumes live is refused whatever is asked, and they are named", async () => {
  await service.volume("one", "published");
  await expect(remove("give", true)).rejects.toThrow("1 volumes live on it (volumes/one)");
  await service.call("HostService/GetHost", { name: "hosts/give" });
});
