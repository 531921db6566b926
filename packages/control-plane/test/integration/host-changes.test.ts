import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runningService, type Json, type RunningService } from "./running-service.ts";

// Hosts that change under volumes in use: what is seen of it, said of it, and put right.

let service: RunningService;
beforeEach(async () => {
  service = await runningService();
});
afterEach(() => service[Symbol.asyncDispose]());

const old = "192.0.2.1";
const other = "192.0.2.77";

interface Found {
  readonly reason: string;
  readonly outcome: string;
  readonly expected: string;
  readonly observed: string;
  readonly explanation: string;
}

/** What SyncVolume finds of volumes/one, and the volume afterwards. */
async function sync(request: object = {}): Promise<{ readonly found: readonly Found[]; readonly volume: Json }> {
  const answer = await service.call("VolumeService/SyncVolume", { name: "volumes/one", ...request });
  return { found: (answer["differences"] ?? []) as Found[], volume: answer["volume"] as Json };
}

const short = (found: readonly Found[]): readonly string[] => found.map(({ reason, outcome }) => `${reason} ${outcome.replace("DIFFERENCE_OUTCOME_", "")}`);
const listenAt = (...addresses: readonly string[]): Promise<Json> =>
  service.call("HostService/UpdateHost", { host: { name: "hosts/give", portals: addresses.map((address) => ({ address })) }, updateMask: "portals" });
const volumeCall = (method: string, more: object = {}): Promise<Json> => service.call(`VolumeService/${method}`, { name: "volumes/one", ...more });
const portalsOf = (volume: Json): readonly unknown[] => ((volume["export"] as Json)["portals"] as Json[]).map(({ address }) => address);
const machine = (name: string): Json => (service.plane.world.snapshot() as Record<string, Json>)[name]!;
const refuseLogins = (address: string): (() => void) =>
  service.plane.world.faults.add({
    host: "take",
    match: { program: "iscsiadm", argvIncludes: [`${address}:3260`, "--login"] },
    times: Infinity,
    effect: { kind: "fail", exitCode: 8, stderr: "iscsiadm: initiator reported error (8 - connection timed out)" },
  });

describe("a portal that is added", () => {
  it("is exported as well, and no session is disturbed", async () => {
    await service.volume("one", "mounted");
    const before = machine("take");
    await listenAt(old, other);
    const { found, volume } = await sync();
    expect(found).toMatchObject([
      { reason: "PORTAL_OUTDATED", expected: `exported at ${old}:3260, ${other}:3260`, observed: `at ${old}:3260, and the host listens at ${old}:3260, ${other}:3260`, outcome: "DIFFERENCE_OUTCOME_REPAIRED" },
    ]);
    expect(portalsOf(volume)).toEqual([old, other]);
    expect(JSON.stringify(machine("give")["targets"])).toContain(`${other}:3260`);
    expect(machine("take")).toEqual(before);
    expect((await sync()).found).toEqual([]);
  });

  it("is exported by PublishVolume asked again, too", async () => {
    await service.volume("one", "published");
    await listenAt(other, old);
    expect(portalsOf((await volumeCall("PublishVolume"))["volume"] as Json)).toEqual([other, old]);
    expect((await sync()).found).toEqual([]);
  });
});

describe("a portal that is replaced", () => {
  it("is left at once by an export that nobody is logged in to", async () => {
    await service.volume("one", "published");
    await listenAt(other);
    const { found, volume } = await sync();
    expect(short(found)).toEqual(["PORTAL_OUTDATED REPAIRED", "PORTAL_OUTDATED REPAIRED"]);
    expect(portalsOf(volume)).toEqual([other]);
    expect(JSON.stringify(machine("give")["targets"])).not.toContain(`${old}:3260`);
  });

  it("is kept for a session that works, and says so", async () => {
    await service.volume("one", "mounted");
    const before = machine("take");
    await listenAt(other);
    await sync();
    const { found, volume } = await sync();
    expect(found).toMatchObject([{ reason: "PORTAL_OUTDATED", observed: `also at ${old}:3260, which hosts/take may use, and the host listens at ${other}:3260`, outcome: "DIFFERENCE_OUTCOME_LEFT" }]);
    expect(volume["condition"]).toMatchObject({ abnormal: true, reason: "PORTAL_OUTDATED" });
    expect(machine("take")).toEqual(before);
    // Calls go on meanwhile; a volume that is moved away and back is there by the new one alone.
    await volumeCall("UnmountVolume", { host: "hosts/take", targetPath: "/srv/one" });
    await volumeCall("UnstageVolume", { host: "hosts/take" });
    await volumeCall("DisconnectVolume", { host: "hosts/take" });
    await volumeCall("ConnectVolume", { host: "hosts/take" });
    await sync();
    expect((await sync()).found).toEqual([]);
    expect(JSON.stringify(machine("give")["targets"])).not.toContain(`${old}:3260`);
    expect(JSON.stringify(machine("take"))).not.toContain(old);
  });

  it("and gone from the machine is left by sessions and mounts, which come back at the new one", async () => {
    const handle = await service.volume("one", "mounted");
    await listenAt(other);
    await sync();
    service.plane.world.setAddresses("give", [other]);
    const { found } = await sync();
    expect(short(found)).toEqual([
      "SESSION_DOWN REPAIRED",
      "PORTAL_OUTDATED REPAIRED",
      "STAGING_MOUNT_MISSING REPAIRED",
      "TARGET_MOUNT_MISSING REPAIRED",
    ]);
    expect((await sync()).found).toEqual([]);
    expect(JSON.stringify(machine("take")["files"])).toContain(`${handle}/${other},3260,1/default`);
    expect(JSON.stringify([machine("take"), machine("give")["targets"]])).not.toContain(`${old},3260`);
    expect((await volumeCall("MountVolume", { host: "hosts/take", targetPath: "/srv/one" }))["operation"]).toBeUndefined();
  });

  it("is followed after both machines have booted", async () => {
    await service.volume("one", "mounted");
    await listenAt(other);
    service.plane.world.setAddresses("give", [other]);
    service.plane.world.powerCycle("give");
    service.plane.world.powerCycle("take");
    expect((await service.call("VolumeService/SyncVolumes", {}))["left"]).toBeUndefined();
    expect((await sync()).found).toEqual([]);
    expect(JSON.stringify(machine("take"))).not.toContain(old);
  });

  it("is used by ConnectVolume before any look", async () => {
    await service.volume("one", "published");
    await listenAt(other);
    service.plane.world.setAddresses("give", [other]);
    expect(portalsOf((await volumeCall("ConnectVolume", { host: "hosts/take" }))["volume"] as Json)).toEqual([other]);
  });
});

describe("several portals", () => {
  it("are tried in order until one works, and one record is left", async () => {
    await listenAt(old, other);
    await service.volume("one", "published");
    refuseLogins(old);
    await volumeCall("ConnectVolume", { host: "hosts/take" });
    expect((await sync()).found).toEqual([]);
    const files = JSON.stringify(machine("take")["files"]);
    expect(files).toContain(`/${other},3260,1/default`);
    expect(files).not.toContain(`/${old},3260,1/default`);
    await volumeCall("DisconnectVolume", { host: "hosts/take" });
    expect(JSON.stringify(machine("take")["files"])).not.toContain(other);
  });

  it("are all named with the cause when none works, and nothing is left", async () => {
    await listenAt(old, other);
    await service.volume("one", "published");
    await service.call("VolumeService/SyncVolumes", {});
    const left = (): unknown => [machine("take"), machine("give")["targets"]];
    const before = left();
    for (const address of [old, other]) refuseLogins(address);
    const why = new RegExp(`no portal works: ${old}:3260 \\(.*timed out.*\\); ${other}:3260 \\(.*timed out`);
    await expect(volumeCall("ConnectVolume", { host: "hosts/take" })).rejects.toThrow(why);
    expect(left()).toEqual(before);
  });

  it("do not make a wrong secret be tried at each", async () => {
    await listenAt(old, other);
    await service.volume("one", "published");
    const logins = (): number => service.plane.world.calls("take").latest.filter((entry) => JSON.stringify(entry).includes("--login")).length;
    service.plane.world.faults.add({ host: "take", match: { argvIncludes: ["--login"] }, times: Infinity, effect: { kind: "fail", exitCode: 24, stderr: "authorization failure" } });
    await expect(volumeCall("ConnectVolume", { host: "hosts/take" })).rejects.toThrow("permission_denied");
    expect(logins()).toBe(1);
  });
});

const renameTake = (to: string): void => { service.plane.world.setInitiatorName("take", to); };
const anew = "iqn.2026-11.example:anew";
const was = "iqn.2026-01.io.zfsilo.sim:take";

describe("an initiator that comes back with another name", () => {
  it("is let in under it once the old one is fenced off, and has its session and mounts again", async () => {
    await service.volume("one", "mounted");
    renameTake(anew);
    service.plane.world.powerCycle("take");
    const { found, volume } = await sync();
    expect(found[0]).toMatchObject({ reason: "INITIATOR_RENAMED", observed: `${anew}, and it was ${was} when it was connected` });
    expect(short(found)).toEqual([
      "INITIATOR_RENAMED REPAIRED",
      "SESSION_MISSING REPAIRED",
      "STAGING_MOUNT_MISSING REPAIRED",
      "TARGET_MOUNT_MISSING REPAIRED",
    ]);
    expect(volume["status"]).toBe("VOLUME_STATUS_MOUNTED");
    // Who has access has changed: a record from before must not count once it is put back.
    expect(JSON.stringify(machine("give")["backstores"])).toContain("zfsilo generation 2");
    expect(JSON.stringify(machine("give")["targets"])).toContain(anew);
    expect(JSON.stringify(machine("give")["targets"])).not.toContain(was);
    expect((await sync()).found).toEqual([]);
  });

  it("is brought back by ConnectVolume and StageVolume asked again, too", async () => {
    await service.volume("one", "staged");
    renameTake(anew);
    service.plane.world.powerCycle("take");
    await volumeCall("ConnectVolume", { host: "hosts/take" });
    await volumeCall("StageVolume", { host: "hosts/take", stagingPath: "/mnt/one" });
    expect((await sync()).found).toEqual([]);
  });

  it("keeps a session that works under the old one, and is told by SyncVolume and CheckHost", async () => {
    await service.volume("one", "mounted");
    renameTake(anew);
    const before = service.plane.world.snapshot();
    const { found, volume } = await sync();
    expect(found).toMatchObject([{ reason: "INITIATOR_RENAMED", outcome: "DIFFERENCE_OUTCOME_LEFT", explanation: expect.stringContaining("works") as string }]);
    expect(volume["condition"]).toMatchObject({ reason: "INITIATOR_RENAMED" });
    expect(service.plane.world.snapshot()).toEqual(before);
    const { checks } = await service.call("HostService/CheckHost", { name: "hosts/take" });
    expect((checks as Json[]).find(({ name }) => name === "initiator.name")).toMatchObject({
      state: "CHECK_STATE_WARNING",
      observed: `${anew}; volumes were connected as ${was}`,
    });
    await volumeCall("MountVolume", { host: "hosts/take", targetPath: "/srv/two" });
  });

  it("waits while another machine is logged in under the old one", async () => {
    const handle = await service.volume("one", "connected");
    await service.call("VolumeService/SyncVolumes", {});
    const { world } = service.plane;
    const [take, third] = [world.executor("take"), world.executor("other")];
    const options = { signal: new AbortController().signal };
    // The disk of the old machine lives on in another one, with its name and its records.
    const path = `/etc/iscsi/nodes/iqn.2026-01.io.zfsilo:${handle}`;
    const record = `${path}/${old},3260,1/default`;
    const [kept] = await take.files([{ op: "read", path: record }], options);
    renameTake(anew);
    world.powerCycle("take");
    world.setInitiatorName("other", was);
    await third.files([{ op: "mkdir", path }, { op: "mkdir", path: `${path}/${old},3260,1` }, { op: "write", path: record, content: kept?.text ?? "", create: { mode: 0o600 } }], options);
    await third.run(["iscsiadm", "-m", "node", "-T", `iqn.2026-01.io.zfsilo:${handle}`, "-p", `${old}:3260`, "-I", "default", "--login"], options);
    const { found } = await sync();
    expect(short(found)).toEqual(["INITIATOR_RENAMED LEFT", "SESSION_MISSING LEFT"]);
    expect(found[0]?.explanation).toContain("another machine is logged in under the old name");
    expect(machine("other")["sessions"]).toHaveLength(1);
    await volumeCall("DisconnectVolume", { host: "hosts/take", force: true });
    await volumeCall("ConnectVolume", { host: "hosts/take" });
    expect((await sync()).found.map(({ reason }) => reason)).not.toContain("INITIATOR_RENAMED");
  });

  it("is refused while the host's record says another, which is a condition of the host", async () => {
    await service.volume("one", "connected");
    await service.call("HostService/UpdateHost", { host: { name: "hosts/take", initiatorIqn: was }, updateMask: "initiatorIqn" });
    renameTake(anew);
    service.plane.world.powerCycle("take");
    await service.call("VolumeService/SyncVolumes", {});
    expect(((await service.call("HostService/GetHost", { name: "hosts/take" }))["host"] as Json)["condition"]).toMatchObject({
      reason: "INITIATOR_NAME_DIFFERS",
      message: expect.stringMatching(new RegExp(`recorded as ${was}.*calls itself ${anew}`)) as string,
    });
    expect(short((await sync()).found)).toEqual(["INITIATOR_RENAMED LEFT", "SESSION_MISSING LEFT"]);
    await service.call("HostService/UpdateHost", { host: { name: "hosts/take", initiatorIqn: anew }, updateMask: "initiatorIqn" });
    await service.call("VolumeService/SyncVolumes", {});
    expect((await sync()).found).toEqual([]);
    expect(((await service.call("HostService/GetHost", { name: "hosts/take" }))["host"] as Json)["condition"]).toBeUndefined();
  });
});

describe("two hosts with one initiator name", () => {
  it("both have a condition that names both", async () => {
    await service.call("VolumeService/SyncVolumes", {});
    renameTake(anew);
    service.plane.world.setInitiatorName("other", anew);
    await service.call("VolumeService/SyncVolumes", {});
    for (const name of ["hosts/take", "hosts/other"]) {
      expect(((await service.call("HostService/GetHost", { name }))["host"] as Json)["condition"]).toMatchObject({
        reason: "INITIATOR_NAME_SHARED",
        message: expect.stringContaining(`hosts/other and hosts/take have the same initiator name ${anew}`) as string,
      });
    }
  });
});

describe("an address that no initiator can use", () => {
  it.each(["0.0.0.0", "::", "ff02::1", "fe80::1", "127.0.0.1"])("is refused when it is given: %s", async (address) => {
    const connection = address === "127.0.0.1" ? { agent: {} } : { simulated: {} };
    const host = { roles: ["HOST_ROLE_TARGET"], ...connection, portals: [{ address: "192.0.2.8" }, { address }] };
    await expect(service.call("HostService/CreateHost", { hostId: "bad", host })).rejects.toThrow(/^invalid_argument: host.portals\[1\].address/);
    await expect(service.call("HostService/GetHost", { name: "hosts/bad" })).rejects.toThrow("not_found");
  });
});
