import { Mounts, parseHostPath, type BlockDevice, type HostPath } from "@zfsilo/host";
import { waitFor } from "@zfsilo/lib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab, type Connected, type CurrentLab } from "./lab.ts";
import { refusal } from "./refusal.ts";

const uuid = "0c000000-0000-4000-8000-0000000000cc";

/** A disk with ext4 that most of these share: on emulated machines making one takes longer than all that is asked of it. */
type SharedDisk = () => BlockDevice;

export function mountContract(current: CurrentLab): void {
  describe("mounts", () => {
    let owner: Lab | undefined;
    let device: BlockDevice | undefined;
    beforeAll(async () => {
      owner = new Lab(current().world);
      ({ device } = await formatted(owner));
    });
    afterAll(async () => {
      await owner?.cleanUp();
    });
    const shared = (): BlockDevice => {
      if (device === undefined) throw new Error("there is no shared disk");
      return device;
    };
    deviceCases(current, shared);
    bindCases(current, shared);
    refusalCases(current, shared);
    busyCases(current, shared);
  });
}

async function formatted(lab: Lab): Promise<Connected> {
  const connected = await lab.connected();
  await lab.filesystems.make({ device: connected.device.path, type: "ext4", uuid, options: {} }, lab.o);
  return connected;
}

function ext4(device: BlockDevice, target: HostPath, readOnly = false) {
  return { device: device.path, target, type: "ext4", options: ["noatime"], readOnly } as const;
}

function deviceCases(current: CurrentLab, shared: SharedDisk): void {
  it("mounts once, finds the mount, unmounts and removes the directory, twice", async () => {
    const lab = current();
    const { mounts, o } = lab;
    const device = shared();
    const target = lab.place("deep/er/with space");
    lab.defer(async () => { await mounts.removeTarget(parseHostPath(`${lab.directory}/deep`), o); });
    lab.defer(async () => { await mounts.removeTarget(parseHostPath(`${lab.directory}/deep/er`), o); });
    lab.place("deep/er/with space");
    expect(await mounts.find(target, o)).toBeUndefined();
    const mount = await mounts.mountDevice(ext4(device, target), o);
    expect(mount).toMatchObject({ majorMinor: device.majorMinor, root: "/", target, type: "ext4", source: device.path });
    expect(mount.options).toEqual(expect.arrayContaining(["rw", "noatime"]));
    expect((await mounts.mountDevice(ext4(device, target), o)).id).toBe(mount.id);
    expect(await mounts.find(target, o)).toEqual(mount);
    expect((await mounts.list(o)).filter(({ majorMinor }) => majorMinor === device.majorMinor)).toHaveLength(1);
    expect(await refusal(mounts.removeTarget(target, o))).toBe("precondition");
    expect(await refusal(mounts.mountDevice(ext4(device, target, true), o))).toBe("precondition");
    await mounts.unmount(target, o);
    expect(await mounts.find(target, o)).toBeUndefined();
    await mounts.unmount(target, o);
    await mounts.removeTarget(target, o);
    await mounts.removeTarget(target, o);
    await mounts.unmount(target, o);
  });

  it("mounts read-only, where nothing can be written", async () => {
    const lab = current();
    const { mounts, o } = lab;
    const device = shared();
    const target = lab.place("read-only");
    expect((await mounts.mountDevice(ext4(device, target, true), o)).options).toContain("ro");
    const write = lab.byHand.initiator.files([{ op: "write", path: `${target}/f`, content: "x", create: { mode: 0o600 } }], o);
    await expect(write).rejects.toMatchObject({ errno: "EROFS" });
  });

  it("shows the same bytes after unmount, logout and login", async () => {
    const lab = current();
    const { iscsi, disks, mounts, o } = lab;
    const { initiator } = lab.byHand;
    const { volume, record, device } = await formatted(lab);
    const target = lab.place("bytes");
    const content = Array.from({ length: 4000 }, (_, index) => `line ${index}\n`).join("");
    const hash = async (): Promise<string | undefined> =>
      (await lab.command(initiator, "sha256sum", `${target}/file`)).split(" ")[0];
    await mounts.mountDevice(ext4(device, target), o);
    await initiator.files([{ op: "write", path: `${target}/file`, content, create: { mode: 0o644 } }], o);
    const written = await hash();
    await mounts.unmount(target, o);
    expect((await initiator.files([{ op: "list", path: target }], o))[0]?.entries).toEqual([]);
    await iscsi.logout(record, o);
    await iscsi.login(record, o);
    const again = await disks.awaitIscsiDevice(record, volume.handle, o);
    await mounts.mountDevice(ext4(again, target), o);
    expect(await hash()).toBe(written);
    expect((await initiator.files([{ op: "read", path: `${target}/file` }], o))[0]?.text).toBe(content);
    await mounts.unmount(target, o);
    expect((await lab.filesystems.check(again.path, "ext4", o)).state).toBe("clean");
  });
}

function bindCases(current: CurrentLab, shared: SharedDisk): void {
  it("shows a mounted directory at a second place, also read-only", async () => {
    const lab = current();
    const { mounts, o } = lab;
    const { initiator } = lab.byHand;
    const device = shared();
    const source = lab.place("staged");
    await mounts.mountDevice(ext4(device, source), o);
    await initiator.files([{ op: "write", path: `${source}/f`, content: "seen", create: { mode: 0o644 } }], o);
    const target = lab.place("bound");
    const bound = await mounts.bindMount({ source, target, readOnly: false }, o);
    expect(bound).toMatchObject({ majorMinor: device.majorMinor, root: "/", target });
    expect((await mounts.bindMount({ source, target, readOnly: false }, o)).id).toBe(bound.id);
    const reader = lab.place("bound-read-only");
    expect((await mounts.bindMount({ source, target: reader, readOnly: true }, o)).options).toContain("ro");
    expect((await mounts.bindMount({ source, target: reader, readOnly: true }, o)).options).toContain("ro");
    expect((await initiator.files([{ op: "read", path: `${reader}/f` }], o))[0]?.text).toBe("seen");
    const write = (path: string) => initiator.files([{ op: "write", path, content: "x", create: { mode: 0o644 } }], o);
    await expect(write(`${reader}/g`)).rejects.toMatchObject({ errno: "EROFS" });
    await write(`${target}/g`);
    expect((await mounts.find(source, o))?.options).toContain("rw");
  });

  it("shows a disk on a file, for a raw volume", async () => {
    const lab = current();
    const { mounts, o } = lab;
    const { initiator } = lab.byHand;
    const { record, device } = await lab.connected();
    const target = lab.place("raw/disk");
    lab.defer(async () => { await mounts.removeTarget(parseHostPath(`${lab.directory}/raw`), o); });
    lab.place("raw/disk");
    const source = parseHostPath(device.path);
    const bound = await mounts.bindMount({ source, target, readOnly: false }, o);
    expect(bound).toMatchObject({ root: `/${device.name}`, type: "devtmpfs", target });
    expect((await mounts.bindMount({ source, target, readOnly: false }, o)).id).toBe(bound.id);
    expect(await refusal(lab.iscsi.logout(record, o))).toBe("precondition");
    await initiator.files([{ op: "write", path: target, content: "through the file" }], o);
    expect((await initiator.files([{ op: "read", path: device.path, maxBytes: 16 }], o))[0]?.text).toBe("through the file");
    await mounts.unmount(target, o);
    expect((await initiator.files([{ op: "read", path: target }], o))[0]?.text).toBe("");
    await mounts.removeTarget(target, o);
    await mounts.removeTarget(target, o);
  });
}

function refusalCases(current: CurrentLab, shared: SharedDisk): void {
  it("mounts nothing that is blank, of another type, or absent", async () => {
    const lab = current();
    const { mounts, o } = lab;
    const blank = await lab.connected();
    const target = lab.place("refused");
    expect(await refusal(mounts.mountDevice(ext4(blank.device, target), o))).toBe("precondition");
    await lab.filesystems.make({ device: blank.device.path, type: "ext4", uuid, options: {} }, o);
    const wrong = { ...ext4(blank.device, target), type: "xfs" } as const;
    expect(await refusal(mounts.mountDevice({ ...wrong, options: [] }, o))).toBe("precondition");
    expect(await refusal(mounts.mountDevice({ ...ext4(blank.device, target), device: "/dev/sdzz" }, o))).toBe("precondition");
    expect(await mounts.find(target, o)).toBeUndefined();
  });

  it("takes no place that is taken", async () => {
    const lab = current();
    const { mounts, o } = lab;
    const { initiator } = lab.byHand;
    const device = shared();
    const two = await lab.connected();
    const target = lab.place("taken");
    await mounts.mountDevice(ext4(device, target), o);
    expect(await refusal(mounts.mountDevice(ext4(two.device, target), o))).toBe("precondition");
    expect(await refusal(mounts.bindMount({ source: parseHostPath("/etc"), target, readOnly: false }, o))).toBe("precondition");
    expect((await mounts.find(target, o))?.majorMinor).toBe(device.majorMinor);
    const full = lab.place("full");
    await initiator.files(
      [{ op: "mkdir", path: full }, { op: "write", path: `${full}/kept`, content: "x", create: { mode: 0o600 } }],
      o,
    );
    lab.defer(async () => {
      await initiator.files([{ op: "unlink", path: `${full}/kept` }], o);
    });
    expect(await mounts.removeTarget(full, o)).toBe("kept");
    const raw = { source: parseHostPath(two.device.path), target: parseHostPath(`${full}/kept`), readOnly: false };
    expect(await refusal(mounts.bindMount(raw, o))).toBe("precondition");
  });

  it("follows links in a path, but not out of its roots", async () => {
    const lab = current();
    const { mounts, o } = lab;
    const device = shared();
    const inside = lab.place("inside");
    const link = parseHostPath(`${lab.directory}/link`);
    await lab.byHand.initiator.files([{ op: "mkdir", path: inside }, { op: "symlink", path: link, target: inside }], o);
    lab.defer(async () => {
      await lab.byHand.initiator.files([{ op: "unlink", path: link }], o);
    });
    lab.place("inside/deep");
    const target = parseHostPath(`${link}/deep`);
    expect((await mounts.mountDevice(ext4(device, target), o)).target).toBe(`${inside}/deep`);
    expect((await mounts.find(target, o))?.target).toBe(`${inside}/deep`);
    const rooted = new Mounts(lab.world.initiator, { roots: [link] });
    expect(await refusal(rooted.unmount(target, o))).toBe("invalid_argument");
    await mounts.unmount(target, o);
    expect(await mounts.find(target, o)).toBeUndefined();
  });
}

function busyCases(current: CurrentLab, shared: SharedDisk): void {
  it("does not unmount what another mount lies in", async () => {
    const lab = current();
    const { mounts, o } = lab;
    const device = shared();
    const outer = lab.place("outer");
    await mounts.mountDevice(ext4(device, outer), o);
    const inner = lab.place("outer/inner");
    await mounts.bindMount({ source: parseHostPath(`${outer}/lost+found`), target: inner, readOnly: false }, o);
    expect(await refusal(mounts.unmount(outer, o))).toBe("busy");
    expect(await mounts.find(outer, o)).toBeDefined();
    await mounts.unmount(inner, o);
    await mounts.unmount(outer, o);
  });

  it("does not unmount what a process works in", async (context) => {
    const lab = current();
    // The simulator has no processes: there only a mount inside keeps a mount busy.
    if (lab.world.kind === "simulated") context.skip();
    const { mounts, o } = lab;
    const { initiator } = lab.byHand;
    const device = shared();
    const target = lab.place("worked-in");
    await mounts.mountDevice(ext4(device, target), o);
    const leave = new AbortController();
    const worker = initiator.run(["env", `--chdir=${target}`, "sleep", "120"], { signal: leave.signal, timeoutMs: 120_000 });
    const ended = worker.then(() => "by itself", () => "told to");
    await waitFor("the process to start", async () => {
      const [found] = await initiator.files([{ op: "read-glob", path: "/proc/*/cmdline" }], o);
      return found?.files?.find(([, line]) => line === "sleep\u0000120\u0000");
    }, o.signal);
    expect(await refusal(mounts.unmount(target, o))).toBe("busy");
    leave.abort();
    expect(await ended).toBe("told to");
    const gone = await waitFor("the mount to be free", () => mounts.unmount(target, o).then(() => true, () => undefined), o.signal);
    expect(gone).toBe(true);
  });
}
