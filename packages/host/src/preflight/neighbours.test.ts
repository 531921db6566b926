import { describe, expect, it } from "vitest";
import { callOptions as o, ScriptedExecutor, type ScriptedNode } from "../testing/scripted-executor.ts";
import { identityCheck, readIdentity } from "./identity.ts";
import { neighbourChecks, type Neighbourhood } from "./neighbours.ts";

const iqnPrefix = "iqn.2026-01.io.zfsilo";
const target: Neighbourhood = { roles: ["target"], parent: "tank/zfsilo", iqnPrefix };
const initiator: Neighbourhood = { roles: ["initiator"], parent: undefined, iqnPrefix };
const bare: Record<string, ScriptedNode> = { "/proc/sys/kernel/osrelease": "6.1.0-44-amd64\n", "/proc/361/comm": "iscsid\n" };
const lvm: Record<string, ScriptedNode> = { ...bare, "/usr/sbin/lvm": { errno: "EINVAL" } };

async function look(nodes: Record<string, ScriptedNode>, needs: Neighbourhood): Promise<Record<string, string>> {
  const executor = new ScriptedExecutor({ nodes: { ...bare, ...nodes } });
  const checks = await neighbourChecks(executor, needs, o);
  expect(executor.batches).toHaveLength(1);
  for (const check of checks) expect(check.remedy === "", check.name).toBe(check.state === "ok");
  return Object.fromEntries(checks.map(({ name, state, observed }) => [name, state === "ok" ? "ok" : `${state}: ${observed}`]));
}

describe("the neighbourhood", () => {
  it("is quiet on a bare host, and shows the kernel", async () => {
    expect(await look({}, target)).toEqual({ kernel: "ok", "lvm.zvols": "ok", "udev.zvols": "ok", "lio.saved": "ok" });
    expect(await look({}, initiator)).toEqual({ kernel: "ok", "lvm.disks": "ok", multipath: "ok" });
    const [kernel] = await neighbourChecks(new ScriptedExecutor({ nodes: bare }), target, o);
    expect(kernel?.observed).toBe("6.1.0-44-amd64");
  });

  const devices = (line: string): string => `# a comment\ndevices {\n\tdir = "/dev"\n\t${line}\n}\n`;
  it.each([
    ["no configuration", {}, false, false],
    ["another name of lvm", { "/usr/sbin/lvm": { errno: "ENOENT" }, "/sbin/lvm": { link: "../usr/bin/lvm" } }, false, false],
    ["a filter on zvols", { "/etc/lvm/lvm.conf": devices('global_filter = [ "r|^/dev/zd|", "r|^/dev/zvol/|" ]') }, true, false],
    ["one that is a comment", { "/etc/lvm/lvm.conf": devices('# global_filter = [ "r|^/dev/zd|" ]') }, false, false],
    ["one that takes the link again", { "/etc/lvm/lvm.conf": devices('filter = [ "r|/dev/zd|", "a|.*|" ]') }, false, false],
    ["one that takes a single disk", { "/etc/lvm/lvm.conf": devices('global_filter = [ "a|^/dev/sda[0-9]*$|", "r|.*|" ]') }, true, true],
    ["one in lvmlocal.conf", { "/etc/lvm/lvmlocal.conf": devices('global_filter="r|.*|"') }, true, true],
    ["one of identifiers", { "/etc/lvm/lvm.conf": devices('global_filter = [ "r|^/dev/disk/by-id/scsi-36001405|", "r|^/dev/disk/by-id/wwn-0x6001405|" ]') }, false, true],
    ["one of brackets", { "/etc/lvm/lvm.conf": devices('global_filter = [ "r|/dev/(zd[0-9]+)|", "r|/dev/zvol|" ]') }, true, false],
    ["a devices file", { "/etc/lvm/lvm.conf": devices("use_devicesfile = 1"), "/etc/lvm/devices/system.devices": "IDTYPE=sys_wwid IDNAME=t10.ATA DEVNAME=/dev/sda2\n" }, true, true],
    ["one that is the build's default", { "/etc/lvm/lvm.conf": devices("# use_devicesfile = 1"), "/etc/lvm/devices/system.devices": "" }, true, true],
    ["one that is not used", { "/etc/lvm/lvm.conf": devices("use_devicesfile = 0"), "/etc/lvm/devices/system.devices": "" }, false, false],
    ["one that lists ours", { "/etc/lvm/lvm.conf": devices("use_devicesfile = 1"), "/etc/lvm/devices/system.devices": "IDTYPE=devname IDNAME=/dev/zd0 DEVNAME=/dev/zd0\nIDTYPE=sys_wwid IDNAME=naa.60014051234 DEVNAME=/dev/sdb\n" }, false, false],
  ] as const)("sees whether LVM keeps off: %s", async (_, nodes, offZvols, offDisks) => {
    const seen = await look({ ...lvm, ...nodes }, { ...target, roles: ["target", "initiator"] });
    expect(seen["lvm.zvols"] === "ok").toBe(offZvols);
    expect(seen["lvm.disks"] === "ok").toBe(offDisks);
  });

  const running = { "/proc/420/comm": "multipathd\n" };
  it.each([
    ["it does not run and is not set up", {}, true],
    ["it runs without configuration", running, false],
    ["it is set up and starts at the next boot", { "/etc/multipath.conf": "defaults {\n}\n" }, false],
    ["its blacklist names the vendor", { ...running, "/etc/multipath.conf": 'blacklist {\n  device {\n    vendor "LIO-ORG"\n    product ".*"\n  }\n}\n' }, true],
    ["in a file of its own", { ...running, "/etc/multipath/conf.d/zfsilo.conf": "blacklist { device { vendor LIO-ORG } }\n" }, true],
    ["by node", { ...running, "/etc/multipath.conf": 'blacklist { devnode "^sd" }\n' }, true],
    ["by all but a node", { ...running, "/etc/multipath.conf": 'blacklist { devnode "!^(sd[a-z])" }\n' }, false],
    ["by identifier", { ...running, "/etc/multipath.conf": 'blacklist { wwid "36001405.*" }\n' }, true],
    ["of another vendor", { ...running, "/etc/multipath.conf": 'blacklist { device { vendor "DELL" } }\ndevices { device { vendor "LIO-ORG" } }\n' }, false],
    ["that is a comment", { ...running, "/etc/multipath.conf": '#blacklist { device { vendor "LIO-ORG" } }\n' }, false],
  ] as const)("sees whether multipathd keeps off: %s", async (_, nodes, off) => {
    expect((await look(nodes, initiator))["multipath"] === "ok").toBe(off);
  });

  const file = "/etc/rtslib-fb-target/saveconfig.json";
  const enabled = { "/etc/systemd/system/multi-user.target.wants/rtslib-fb-targetctl.service": { link: "/lib/systemd/system/rtslib-fb-targetctl.service" } };
  const saved = (...wwns: string[]): string => JSON.stringify({ storage_objects: [], targets: wwns.map((wwn) => ({ wwn, tpgs: [] })) });
  it.each([
    ["ours would be restored", { ...enabled, [file]: saved(`${iqnPrefix}:0123456789abcdef`, "iqn.2003-01.x:y") }, `failed: ${file} holds 1 of zfsilo's targets, and rtslib-fb-targetctl.service loads`],
    ["ours are saved, nothing restores them", { "/etc/target/saveconfig.json": saved(`${iqnPrefix}:a`, `${iqnPrefix}:b`) }, "warning: /etc/target/saveconfig.json holds 2"],
    ["others would be restored", { ...enabled, [file]: saved("iqn.2003-01.x:y", `${iqnPrefix}.other:a`) }, "warning: rtslib-fb-targetctl.service loads what targetcli saved at boot; none"],
    ["the file is broken", { ...enabled, [file]: "{" }, `failed: ${file} cannot be read as JSON`],
    ["others are saved, nothing restores them", { [file]: saved("iqn.2003-01.x:y") }, "ok"],
  ])("sees what a boot would restore: %s", async (_, nodes, expected) => {
    expect((await look(nodes, target))["lio.saved"]).toMatch(new RegExp(`^${expected.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`));
  });

  it.each([
    ['KERNEL=="zd*", SUBSYSTEM=="block", RUN+="/usr/local/bin/scan %k"', false],
    ['KERNEL=="zd*", SYMLINK+="volumes/%k"', true],
    ['# KERNEL=="zd*", RUN+="/bin/true"', true],
    ['KERNEL=="sd*", RUN+="/bin/true"', true],
  ])("sees rules that open zvols: %s", async (line, fine) => {
    expect((await look({ "/etc/udev/rules.d/90-site.rules": `${line}\n` }, target))["udev.zvols"] === "ok").toBe(fine);
  });
});

describe("a machine's identity", () => {
  const identity = (id: string, name: string) => readIdentity(new ScriptedExecutor({ nodes: { "/etc/machine-id": `${id}\n`, "/etc/hostname": `${name}\n` } }), o);

  it.each([
    ["the same machine", "one", "node1", "hosts/b has the same /etc/machine-id"],
    ["another of that name", "two", "node1", "hosts/b has the same host name node1"],
    ["another machine", "two", "node2", undefined],
    ["nothing to tell them apart", "", "localhost", undefined],
  ])("is held against the others: %s", async (_, id, name, expected) => {
    const check = identityCheck(await identity("one", "node1"), new Map([["hosts/b", await identity(id, name)]]));
    expect(check).toMatchObject(expected === undefined ? { state: "ok", observed: "node1" } : { state: "warning", observed: expected });
  });

  it("is unknown where the files are not there", async () => {
    expect(await readIdentity(new ScriptedExecutor(), o)).toEqual({ machineId: undefined, hostname: undefined });
  });
});
