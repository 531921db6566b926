import { parseIqn, parsePortal, type Interface } from "@zfsilo/host";
import { describe, expect, it } from "vitest";
import { mib, type CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";

export function iscsiContract(current: CurrentLab): void {
  describe("node records", () => {
    recordCases(current);
  });
  describe("sessions", () => {
    loginCases(current);
    refusedLoginCases(current);
    logoutCases(current);
  });
  describe("disks of a session", () => {
    diskCases(current);
  });
}

function recordCases(current: CurrentLab): void {
  it("keeps a record for each portal and removes them, twice", async () => {
    const lab = current();
    const { iscsi, o } = lab;
    const target = parseIqn(`iqn.2026-01.io.zfsilo.contract:${lab.newOwner().handle}`);
    const one = lab.recordFor(target, lab.newChap(true));
    const two = { ...one, portal: parsePortal({ address: "fd00::1", port: 3261 }) };
    for (const record of [one, two]) await lab.writeRecord(record);
    await iscsi.writeNodeRecord(one, o);
    expect(await iscsi.listNodeRecords(o)).toEqual([
      { target, portal: one.portal, iface: "default" },
      { target, portal: two.portal, iface: "default" },
    ]);
    expect(await iscsi.listRecordedTargets(o)).toEqual([target]);
    await iscsi.removeNodeRecord(one, o);
    expect(await iscsi.listNodeRecords(o)).toEqual([{ target, portal: two.portal, iface: "default" }]);
    await iscsi.removeNodeRecord(two, o);
    await iscsi.removeNodeRecord(two, o);
    expect(await iscsi.listRecordedTargets(o)).toEqual([]);
    for (const record of [one, two]) await iscsi.writeNodeRecord(record, o);
    await iscsi.removeRecordsOf(target, o);
    await iscsi.removeRecordsOf(target, o);
    expect(await iscsi.listNodeRecords(o)).toEqual([]);
    expect(await iscsi.listRecordedTargets(o)).toEqual([]);
  });

  it("knows the machine's own name and the version of open-iscsi", async () => {
    const { iscsi, o, world } = current();
    expect(await iscsi.initiatorName(o)).toBe(world.initiatorIqn);
    expect(await iscsi.version(o)).toMatch(/^2\.\d+/);
  });
}

function loginCases(current: CurrentLab): void {
  it("logs in once, however often it is asked", async () => {
    const lab = current();
    const { iscsi, lio, o } = lab;
    const { volume, record, chap } = await lab.admitted();
    expect(await iscsi.findSession(record, o)).toBeUndefined();
    const session = await iscsi.login(record, o);
    expect(session).toMatchObject({
      target: record.target,
      portal: record.portal,
      state: "LOGGED_IN",
      initiatorName: lab.world.initiatorIqn,
      iface: "default",
    });
    expect((await iscsi.login(record, o)).sid).toBe(session.sid);
    expect(await iscsi.listSessions(o)).toHaveLength(1);
    expect((await lio.findExport(volume.spec, o))?.initiators).toEqual([
      { iqn: lab.world.initiatorIqn, mappedLun: 0, writeProtected: false, session: "active", userid: chap.userid },
    ]);
    expect((await lio.listExports(o))[0]?.initiators[0]?.session).toBe("active");
  });

  it("logs in with the target's answer checked as well (mutual CHAP)", async () => {
    const lab = current();
    const { iscsi, lio, o } = lab;
    const { volume, record } = await lab.admitted();
    const chap = lab.newChap(true);
    await lio.ensureInitiator({ target: volume.spec.target, initiator: lab.world.initiatorIqn, chap }, o);
    const wrong = { ...chap, mutualPassword: lab.newChap().password };
    await iscsi.writeNodeRecord({ ...record, chap: wrong }, o);
    expect(await refusal(iscsi.login(record, o))).toBe("precondition");
    const unproven = { userid: chap.userid, password: chap.password };
    await lio.ensureInitiator({ target: volume.spec.target, initiator: lab.world.initiatorIqn, chap: unproven }, o);
    await iscsi.writeNodeRecord({ ...record, chap }, o);
    expect(await refusal(iscsi.login(record, o))).toBe("precondition");
    await lio.ensureInitiator({ target: volume.spec.target, initiator: lab.world.initiatorIqn, chap }, o);
    const nameless = { ...chap, mutualUserid: "another-target" };
    await iscsi.writeNodeRecord({ ...record, chap: nameless }, o);
    expect(await refusal(iscsi.login(record, o))).toBe("precondition");
    expect(await iscsi.listSessions(o)).toEqual([]);
    await iscsi.writeNodeRecord({ ...record, chap }, o);
    expect((await iscsi.login(record, o)).state).toBe("LOGGED_IN");
  });

  it("logs in without CHAP where none is demanded", async () => {
    const lab = current();
    const { iscsi, lio, o } = lab;
    const { spec } = await lab.exported({ authentication: false });
    await lio.ensureInitiator({ target: spec.target, initiator: lab.world.initiatorIqn }, o);
    const record = lab.recordFor(spec.target);
    await lab.writeRecord(record);
    expect((await iscsi.login(record, o)).state).toBe("LOGGED_IN");
  });

  it("logs in to two targets at once, and under a second name to the same one", async () => {
    const lab = current();
    const { iscsi, lio, o } = lab;
    const one = await lab.admitted();
    const two = await lab.admitted();
    const iface: Interface = { name: "contract", initiatorName: parseIqn("iqn.2026-01.io.zfsilo.contract:second") };
    lab.defer(() => iscsi.removeInterface(iface.name, o));
    await iscsi.writeInterface(iface, o);
    await lio.ensureInitiator({ target: one.record.target, initiator: iface.initiatorName, chap: one.chap }, o);
    const second = { ...one.record, iface };
    await lab.writeRecord(second);
    await Promise.all([one.record, two.record, second].map((record) => iscsi.login(record, o)));
    const sessions = (await iscsi.listSessions(o)).map(({ target, initiatorName, iface: name }) => [target, initiatorName, name]);
    const own = lab.world.initiatorIqn;
    expect(sessions).toHaveLength(3);
    expect(sessions).toEqual(
      expect.arrayContaining([
        [one.record.target, own, "default"],
        [two.record.target, own, "default"],
        [one.record.target, iface.initiatorName, "contract"],
      ]),
    );
    const states = (await lio.findExport(one.volume.spec, o))?.initiators.map(({ iqn, session }) => [iqn, session]);
    expect(states).toEqual([[iface.initiatorName, "active"], [own, "active"]].sort());
    await iscsi.logout(second, o);
    expect(await iscsi.findSession(second, o)).toBeUndefined();
    expect(await iscsi.findSession(one.record, o)).toMatchObject({ state: "LOGGED_IN" });
  });
}

function refusedLoginCases(current: CurrentLab): void {
  it("is refused with a wrong secret, without CHAP, and without an ACL; no session is left", async () => {
    const lab = current();
    const { iscsi, lio, o } = lab;
    const { volume, record, chap } = await lab.admitted();
    await iscsi.writeNodeRecord({ ...record, chap: { ...chap, password: lab.newChap().password } }, o);
    expect(await refusal(iscsi.login(record, o))).toBe("permission_denied");
    await iscsi.writeNodeRecord(lab.recordFor(record.target), o);
    expect(await refusal(iscsi.login(record, o))).toBe("permission_denied");
    await iscsi.writeNodeRecord(record, o);
    await lio.removeInitiator(volume.spec.target, lab.world.initiatorIqn, o);
    expect(await refusal(iscsi.login(record, o))).toBe("permission_denied");
    expect(await iscsi.listSessions(o)).toEqual([]);
  });

  it("needs a record for the portal", async () => {
    const lab = current();
    const { record } = await lab.admitted();
    const other = { ...record, portal: parsePortal({ ...record.portal, port: 3999 }) };
    expect(await refusal(lab.iscsi.login(other, lab.o))).toBe("not_found");
    const unknown = { ...record, target: parseIqn("iqn.2026-01.io.zfsilo.contract:never") };
    expect(await refusal(lab.iscsi.login(unknown, lab.o))).toBe("not_found");
  });

  it("gives up where nobody listens, and on a target that is gone or disabled", async () => {
    const lab = current();
    const { iscsi, lio, o } = lab;
    const portal = parsePortal({ ...lab.world.portal, port: 3999 });
    const dead = { ...(await lab.admitted()).record, portal };
    await lab.writeRecord(dead);
    const gone = await lab.admitted();
    await lio.removeExport(gone.volume.spec, o);
    const disabled = await lab.admitted();
    const enable = `/sys/kernel/config/target/iscsi/${disabled.record.target}/tpgt_1/enable`;
    await lab.byHand.target.files([{ op: "write", path: enable, content: "0" }], o);
    // At once: each keeps iscsid trying for the 20 s that its record allows.
    const logins = [dead, gone.record, disabled.record].map((record) => refusal(iscsi.login(record, o)));
    expect(await Promise.all(logins)).toEqual(["unavailable", "unavailable", "unavailable"]);
    expect(await iscsi.listSessions(o)).toEqual([]);
  });
}

function logoutCases(current: CurrentLab): void {
  it("logs out, twice, and where there never was a session", async () => {
    const lab = current();
    const { iscsi, lio, o } = lab;
    const { volume, record, device } = await lab.connected();
    await iscsi.logout(record, o);
    expect(await iscsi.findSession(record, o)).toBeUndefined();
    expect(await lab.disks.find(device.path, o)).toBeUndefined();
    await iscsi.logout(record, o);
    expect((await lio.findExport(volume.spec, o))?.initiators[0]?.session).toBe("none");
    await iscsi.logout({ target: parseIqn("iqn.2026-01.io.zfsilo.contract:never") }, o);
  });

  it("does not log out under a mount", async () => {
    const lab = current();
    const { iscsi, filesystems, mounts, o } = lab;
    const { record, device } = await lab.connected();
    await filesystems.make({ device: device.path, type: "ext4", uuid: "0c000000-0000-4000-8000-000000000001", options: {} }, o);
    const target = lab.place("logout");
    await mounts.mountDevice({ device: device.path, target, type: "ext4", options: [], readOnly: false }, o);
    expect(await refusal(iscsi.logout(record, o))).toBe("precondition");
    expect(await iscsi.findSession(record, o)).toMatchObject({ state: "LOGGED_IN" });
    await mounts.unmount(target, o);
    await iscsi.logout(record, o);
    expect(await iscsi.listSessions(o)).toEqual([]);
  });
}

function diskCases(current: CurrentLab): void {
  it("finds a volume's disk by its serial, and takes no other for it", async () => {
    const lab = current();
    const { iscsi, disks, o } = lab;
    const { volume, record, device } = await lab.connected();
    expect(device).toMatchObject({ sizeBytes: mib(64) });
    expect(device.path).toMatch(/^\/dev\/sd[a-z]+$/);
    expect((await iscsi.findSession(record, o))?.devices).toEqual([
      { name: device.name, lun: 0, sizeBytes: mib(64), majorMinor: device.majorMinor, serial: volume.handle, state: "running" },
    ]);
    expect(await refusal(disks.awaitIscsiDevice(record, lab.newOwner().handle, o))).toBe("precondition");
    await iscsi.logout(record, o);
    expect(await refusal(disks.awaitIscsiDevice(record, volume.handle, o))).toBe("unavailable");
  });

  it("sees a volume's new size only when it looks again", async () => {
    const lab = current();
    const { zfs, iscsi, disks, o } = lab;
    const { volume, session, device } = await lab.connected();
    await zfs.growVolume(volume.dataset, mib(96), o);
    expect((await disks.find(device.path, o))?.sizeBytes).toBe(mib(64));
    expect((await disks.awaitSize(device.path, mib(96), o)).sizeBytes).toBe(mib(96));
    await zfs.growVolume(volume.dataset, mib(128), o);
    await iscsi.rescan(session.sid, o);
    expect((await disks.find(device.path, o))?.sizeBytes).toBe(mib(128));
    expect(await refusal(disks.awaitSize(device.path, mib(160), o))).toBe("unavailable");
    expect(await refusal(iscsi.rescan(4_000, o))).toBe("not_found");
  });

  it("carries what is written on the raw disk to the next session", async () => {
    const lab = current();
    const { iscsi, disks, filesystems, o } = lab;
    const { initiator } = lab.byHand;
    const { volume, record, device } = await lab.connected();
    const content = "raw bytes\n".repeat(5000);
    await initiator.files([{ op: "write", path: device.path, content }], o);
    await iscsi.logout(record, o);
    await iscsi.login(record, o);
    const again = await disks.awaitIscsiDevice(record, volume.handle, o);
    const [read] = await initiator.files([{ op: "read", path: again.path, maxBytes: content.length }], o);
    expect(read?.text === content).toBe(true);
    expect(await filesystems.probe(again.path, o)).toEqual({ kind: "data" });
  });
}
