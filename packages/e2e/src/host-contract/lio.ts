import type { Argv } from "@zfsilo/command";
import { parseIqn, parsePortal, zvolPath } from "@zfsilo/host";
import { newVolumeHandle } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import type { CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";

const config = "/sys/kernel/config/target";

export function lioContract(current: CurrentLab): void {
  describe("exports", () => {
    exportCases(current);
    foreignCases(current);
  });
  describe("initiators of an export", () => {
    initiatorCases(current);
  });
}

function exportCases(current: CurrentLab): void {
  it("exports a volume, says the same when asked again, and takes the export down, twice", async () => {
    const lab = current();
    const { lio, o } = lab;
    await lio.ensureModules(o);
    const { spec, handle } = await lab.volume();
    expect(await lio.findExport(spec, o)).toBeUndefined();
    lab.defer(() => lio.removeExport(spec, o));
    const whole = {
      handle,
      target: spec.target,
      backstore: { devicePath: spec.devicePath, serial: handle, enabled: true },
      linked: true,
      portals: spec.portals,
      enabled: true,
      authentication: true,
      initiators: [],
    };
    expect(await lio.ensureExport(spec, o)).toEqual(whole);
    expect(await lio.ensureExport(spec, o)).toEqual(whole);
    expect(await lio.findExport(spec, o)).toEqual(whole);
    expect(await lio.listExports(o)).toEqual([whole]);
    await lio.removeExport(spec, o);
    expect(await lio.findExport(spec, o)).toBeUndefined();
    expect(await lio.listExports(o)).toEqual([]);
    await lio.removeExport(spec, o);
  });

  it("keeps the generation of an export, in one look and in the list", async () => {
    const lab = current();
    const { lio, o } = lab;
    const { spec, handle } = await lab.exported();
    await lio.ensureExport({ ...spec, generation: 3 }, o);
    expect((await lio.findExport(spec, o))?.backstore).toMatchObject({ generation: 3 });
    await lio.markGeneration({ handle, generation: 104 }, o);
    expect((await lio.listExports(o))[0]?.backstore).toMatchObject({ generation: 104 });
    await lio.markGeneration({ handle: newVolumeHandle(), generation: 5 }, o);
  });

  it("adds a portal that is missing and changes whether CHAP is demanded", async () => {
    const lab = current();
    const { lio, o } = lab;
    const { spec } = await lab.exported();
    const portals = [lab.world.portal, parsePortal({ ...lab.world.portal, port: 3261 })];
    const changed = await lio.ensureExport({ ...spec, portals, authentication: false }, o);
    expect(changed).toMatchObject({ authentication: false, enabled: true });
    expect(changed.portals).toEqual(portals);
    expect((await lio.listExports(o))[0]?.portals).toEqual(portals);
  });

  it("exports four volumes at once", async () => {
    const lab = current();
    const { lio, o } = lab;
    const volumes = [await lab.volume(), await lab.volume(), await lab.volume(), await lab.volume()];
    for (const { spec } of volumes) lab.defer(() => lio.removeExport(spec, o));
    const made = await Promise.all(volumes.map(({ spec }) => lio.ensureExport(spec, o)));
    const byHandle = made.toSorted((a, b) => (a.handle < b.handle ? -1 : 1));
    expect(await lio.listExports(o)).toEqual(byHandle);
    await Promise.all(volumes.map(({ spec }) => lio.removeExport(spec, o)));
    expect(await lio.listExports(o)).toEqual([]);
  });

  it("refuses a device that is not there, and leaves nothing that cannot be removed", async () => {
    const lab = current();
    const { lio, o } = lab;
    const { handle, dataset } = lab.newOwner();
    const target = parseIqn(`iqn.2026-01.io.zfsilo.contract:${handle}`);
    const spec = { handle, target, devicePath: zvolPath(dataset), portals: [lab.world.portal] };
    lab.defer(() => lio.removeExport(spec, o));
    expect(await refusal(lio.ensureExport(spec, o))).toBe("precondition");
    expect((await lio.findExport(spec, o))?.backstore?.enabled ?? false).toBe(false);
    await lio.removeExport(spec, o);
    expect(await lio.findExport(spec, o)).toBeUndefined();
  });
}

function foreignCases(current: CurrentLab): void {
  it("adopts no backstore of its name over another device", async () => {
    const lab = current();
    const { lio, o } = lab;
    const mine = await lab.volume();
    const other = await lab.volume();
    const backstore = `${config}/core/iblock_0/${mine.handle}`;
    lab.defer(async () => {
      await lab.byHand.target.files([{ op: "rmdir", path: backstore }], o);
    });
    await lab.byHand.target.files(
      [
        { op: "mkdir", path: `${config}/core/iblock_0`, tolerate: ["EEXIST"] },
        { op: "mkdir", path: backstore },
        { op: "write", path: `${backstore}/control`, content: `udev_path=${other.spec.devicePath}` },
        { op: "write", path: `${backstore}/udev_path`, content: other.spec.devicePath },
        { op: "write", path: `${backstore}/enable`, content: "1" },
      ],
      o,
    );
    expect(await refusal(lio.ensureExport(mine.spec, o))).toBe("precondition");
    expect(await lio.findExport(mine.spec, o)).toMatchObject({
      backstore: { devicePath: other.spec.devicePath, enabled: true },
      linked: false,
    });
    expect((await lio.findExport(mine.spec, o))?.target).toBeUndefined();
  });

  it("names the target that has the port, and exports as soon as it is free", async () => {
    const lab = current();
    const { lio, o } = lab;
    const { spec } = await lab.volume();
    const foreign = `${config}/iscsi/iqn.2003-01.org.example:port`;
    const directories = [foreign, `${foreign}/tpgt_1`, `${foreign}/tpgt_1/np/0.0.0.0:${lab.world.portal.port}`];
    const down = directories.toReversed().map((path) => ({ op: "rmdir", path, tolerate: ["ENOENT"] }) as const);
    lab.defer(() => lio.removeExport(spec, o));
    lab.defer(async () => {
      await lab.byHand.target.files(down, o);
    });
    await lab.byHand.target.files(
      [{ op: "mkdir", path: `${config}/iscsi`, tolerate: ["EEXIST"] }, ...directories.map((path) => ({ op: "mkdir", path }) as const)],
      o,
    );
    await expect(lio.ensureExport(spec, o)).rejects.toMatchObject({
      reason: "precondition",
      message: expect.stringContaining("target iqn.2003-01.org.example:port serves 0.0.0.0:3260") as string,
    });
    await lio.removeExport(spec, o);
    await lab.byHand.target.files(down, o);
    expect(await lio.ensureExport(spec, o)).toMatchObject({ portals: spec.portals, enabled: true });
    await lio.removeExport(spec, o);
    const [left] = await lab.byHand.target.files([{ op: "list", path: `${config}/core/iblock_0`, tolerate: ["ENOENT"] }], o);
    expect(left?.entries).toBeUndefined();
  });

  it("names the mount that keeps a volume from being exported or destroyed", async () => {
    const lab = current();
    const { lio, zfs, o } = lab;
    const { spec, dataset } = await lab.volume();
    const run = async (...argv: Argv): Promise<void> => {
      expect(await lab.byHand.target.run(argv, o)).toMatchObject({ exitCode: 0 });
    };
    const place = "/mnt/zfsilo-held";
    lab.defer(() => lio.removeExport(spec, o));
    await lab.byHand.target.files([{ op: "mkdir", path: place, tolerate: ["EEXIST"] }], o);
    await run("mkfs.ext4", "-q", "-U", "6ff8dd2c-4f8b-4f3b-9d2e-0c6c3f1f4f11", "-E", "nodiscard,lazy_itable_init=1", spec.devicePath);
    await run("mount", "-t", "ext4", "-o", "rw", spec.devicePath, place);
    const held = { reason: "busy", message: expect.stringContaining(`held by a mount at ${place}`) as string };
    try {
      await Promise.all([expect(lio.ensureExport(spec, o)).rejects.toMatchObject(held), expect(zfs.destroyVolume(dataset, o)).rejects.toMatchObject(held)]);
    } finally {
      await run("umount", place);
      await lab.byHand.target.files([{ op: "rmdir", path: place }], o);
    }
    expect(await lio.ensureExport(spec, o)).toMatchObject({ enabled: true });
  });

  it("lists no backstore or target whose name is no volume's", async () => {
    const lab = current();
    const { lio, o } = lab;
    const strange = [`${config}/core/iblock_0/somebodys`, `${config}/iscsi/iqn.2026-01.io.zfsilo.contract:somebodys`];
    lab.defer(async () => {
      await lab.byHand.target.files(strange.map((path) => ({ op: "rmdir", path })), o);
    });
    await lab.byHand.target.files(
      [
        { op: "mkdir", path: `${config}/core/iblock_0`, tolerate: ["EEXIST"] },
        { op: "mkdir", path: `${config}/iscsi`, tolerate: ["EEXIST"] },
        ...strange.map((path) => ({ op: "mkdir", path }) as const),
      ],
      o,
    );
    expect(await lio.listExports(o)).toEqual([]);
  });
}

function initiatorCases(current: CurrentLab): void {
  it("admits an initiator with CHAP, again with other credentials, and fences it off, twice", async () => {
    const lab = current();
    const { lio, o } = lab;
    const { spec } = await lab.exported();
    const initiator = lab.world.initiatorIqn;
    const first = lab.newChap(true);
    await lio.ensureInitiator({ target: spec.target, initiator, chap: first }, o);
    await lio.ensureInitiator({ target: spec.target, initiator, chap: first }, o);
    const admitted = { iqn: initiator, mappedLun: 0, writeProtected: false, session: "none", userid: first.userid };
    expect((await lio.findExport(spec, o))?.initiators).toEqual([admitted]);
    const second = lab.newChap();
    await lio.ensureInitiator({ target: spec.target, initiator, chap: second }, o);
    expect((await lio.listExports(o))[0]?.initiators).toEqual([{ ...admitted, userid: second.userid }]);
    await lio.removeInitiator(spec.target, initiator, o);
    expect(await lio.findExport(spec, o)).toMatchObject({ initiators: [], enabled: true });
    await lio.removeInitiator(spec.target, initiator, o);
  });

  it("admits one without CHAP only where none is demanded", async () => {
    const lab = current();
    const { lio, o } = lab;
    const initiator = lab.world.initiatorIqn;
    const strict = await lab.exported();
    expect(await refusal(lio.ensureInitiator({ target: strict.spec.target, initiator }, o))).toBe("precondition");
    const open = await lab.exported({ authentication: false });
    await lio.ensureInitiator({ target: open.spec.target, initiator }, o);
    expect((await lio.findExport(open.spec, o))?.initiators).toEqual([{ iqn: initiator, mappedLun: 0, writeProtected: false, session: "none" }]);
  });

  it("refuses to admit to an export that is not there; to fence off it is done", async () => {
    const lab = current();
    const { lio, o } = lab;
    const target = parseIqn(`iqn.2026-01.io.zfsilo.contract:${newVolumeHandle()}`);
    const initiator = lab.world.initiatorIqn;
    expect(await refusal(lio.ensureInitiator({ target, initiator, chap: lab.newChap() }, o))).toBe("precondition");
    await lio.removeInitiator(target, initiator, o);
  });

  it("keeps one initiator while another is fenced off", async () => {
    const lab = current();
    const { lio, o } = lab;
    const { spec } = await lab.exported();
    const other = parseIqn("iqn.2026-01.io.zfsilo.contract:other");
    await lio.ensureInitiator({ target: spec.target, initiator: lab.world.initiatorIqn, chap: lab.newChap() }, o);
    await lio.ensureInitiator({ target: spec.target, initiator: other, chap: lab.newChap() }, o);
    const iqns = async () => (await lio.findExport(spec, o))?.initiators.map(({ iqn }) => iqn);
    expect(await iqns()).toEqual([other, lab.world.initiatorIqn].sort());
    await lio.removeInitiator(spec.target, lab.world.initiatorIqn, o);
    expect(await iqns()).toEqual([other]);
    await lio.removeExport(spec, o);
    expect(await lio.findExport(spec, o)).toBeUndefined();
  });
}
