import { CommandError } from "@zfsilo/command";
import { Secret } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { parseIqn, parsePortal } from "../lio/names.ts";
import { callOptions as o, ScriptedExecutor, type ScriptedNode, type ScriptedRun } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { Iscsi } from "./iscsi.ts";

const target = parseIqn("iqn.2026-01.io.zfsilo:vhandle1");
const portal = parsePortal({ address: "10.9.0.2", port: 3260 });
const key = { target, portal };

/** The captured walk of sysfs, `PATH: CONTENT` a line, with the binary pages as the executor decodes them. */
function sessions(): Record<string, ScriptedNode> {
  const lines = readTestdata(import.meta.url, "globs.linux-6.1.stdout.txt").trim().split("\n");
  const nodes: Record<string, ScriptedNode> = {};
  for (const line of lines) {
    const split = line.indexOf(": ");
    nodes[line.slice(0, split)] = `${line.slice(split + 2)}\n`;
  }
  for (const [sid, name, number, serial] of [
    [2, "sda", "8:0", "vhandle1"],
    [3, "sdb", "8:16", "vhandle2"],
  ] as const) {
    const unit = `/sys/class/iscsi_session/session${sid}/device/target${sid}:0:0/${sid}:0:0:0`;
    nodes[`${unit}/vpd_pg80`] = `\u0000\ufffd\u0000\t${serial}\u0000`;
    nodes[`${unit}/block/${name}/dev`] = `${number}\n`;
  }
  return nodes;
}

const mountinfo = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n";
const login: ScriptedRun = {
  argv: "iscsiadm -m node -T iqn.2026-01.io.zfsilo:vhandle1 -p 10.9.0.2:3260 -I default --login",
};
const logout: ScriptedRun = { argv: "iscsiadm -m node -T iqn.2026-01.io.zfsilo:vhandle1 -I default --logout" };

/** Sessions appear before the n-th batch, or vanish. */
function change(executor: ScriptedExecutor, batch: number, nodes: Record<string, ScriptedNode>): void {
  executor.onBatch = (index): void => {
    if (index !== batch) return;
    for (const path of [...executor.nodes.keys()]) if (path.startsWith("/sys/")) executor.nodes.delete(path);
    for (const [path, node] of Object.entries(nodes)) executor.nodes.set(path, node);
  };
}

describe("sessions", () => {
  it("are read from sysfs in one batch, with disk and serial", async () => {
    const executor = new ScriptedExecutor({ nodes: sessions() });
    expect(await new Iscsi(executor).listSessions(o)).toEqual([
      {
        sid: 2,
        target,
        portal,
        state: "LOGGED_IN",
        initiatorName: "iqn.2026-01.io.zfsilo.vm:take",
        iface: "default",
        devices: [{ name: "sda", lun: 0, sizeBytes: 268435456n, majorMinor: "8:0", serial: "vhandle1", state: "running" }],
      },
      expect.objectContaining({
        sid: 3,
        devices: [{ name: "sdb", lun: 0, sizeBytes: 134217728n, majorMinor: "8:16", serial: "vhandle2", state: "running" }],
      }),
    ]);
    expect(executor.batches).toHaveLength(1);
  });

  it("are looked for by id, and one whose id was given anew meanwhile is not taken", async () => {
    const executor = new ScriptedExecutor({ nodes: sessions() });
    const found = await new Iscsi(executor).findSession({ target }, o);
    expect(found).toMatchObject({ sid: 2, devices: [{ name: "sda" }] });
    expect(executor.log.every((line) => !line.includes("session3"))).toBe(true);
    executor.onBatch = (index): void => {
      if (index === 3) executor.nodes.set("/sys/class/iscsi_session/session2/targetname", "iqn.2026-01.io.zfsilo:other\n");
    };
    expect(await new Iscsi(executor).findSession({ target }, o)).toBeUndefined();
  });

  it("are none on a host without any", async () => {
    expect(await new Iscsi(new ScriptedExecutor()).listSessions(o)).toEqual([]);
  });
});

describe("login", () => {
  it("takes the session that is there", async () => {
    const executor = new ScriptedExecutor({ nodes: sessions() });
    expect(await new Iscsi(executor).login(key, o)).toMatchObject({ sid: 2 });
  });

  it.each([
    ["succeeds", {}],
    ["says it was there already", { exitCode: 15, stderr: "iscsiadm: default: 1 session requested, but 1 already present." }],
  ])("looks in sysfs when iscsiadm %s", async (_, result) => {
    const executor = new ScriptedExecutor({ runs: [{ ...login, ...result }] });
    change(executor, 2, sessions());
    expect(await new Iscsi(executor).login(key, o)).toMatchObject({ sid: 2, state: "LOGGED_IN" });
    expect(executor.leftOver).toBe(0);
  });

  it("makes one session when called twice at once", async () => {
    const executor = new ScriptedExecutor({ runs: [login] });
    change(executor, 1, sessions());
    const iscsi = new Iscsi(executor);
    const made = await Promise.all([iscsi.login(key, o), iscsi.login(key, o)]);
    expect(made.map(({ sid }) => sid)).toEqual([2, 2]);
  });

  it.each([
    [24, "login-bad-chap.open-iscsi-2.1.8.exit-24.stderr.txt", "permission_denied"],
    [21, "login-no-record.open-iscsi-2.1.8.exit-21.stderr.txt", "not_found"],
  ])("explains exit %i", async (exitCode, file, reason) => {
    const executor = new ScriptedExecutor({ runs: [{ ...login, exitCode, stderr: readTestdata(import.meta.url, file) }] });
    await expect(new Iscsi(executor).login(key, o)).rejects.toMatchObject({ reason });
  });

  it("calls a login that hangs unavailable", async () => {
    const error = new CommandError("timeout", "take", ["iscsiadm"], "unknown", new Error("30 s"));
    const executor = new ScriptedExecutor({ runs: [{ ...login, error }] });
    await expect(new Iscsi(executor).login(key, o)).rejects.toMatchObject({ reason: "unavailable" });
  });

  it("logs in a second identity beside the first", async () => {
    const iface = { name: "second", initiatorName: parseIqn("iqn.2026-01.io.zfsilo.vm:second") };
    const second = "iscsiadm -m node -T iqn.2026-01.io.zfsilo:vhandle1 -p 10.9.0.2:3260 -I second --login";
    const executor = new ScriptedExecutor({ nodes: sessions(), runs: [{ argv: second }] });
    change(executor, 1, {
      ...sessions(),
      "/sys/class/iscsi_session/session4/targetname": `${target}\n`,
      "/sys/class/iscsi_session/session4/ifacename": "second\n",
      "/sys/class/iscsi_session/session4/state": "LOGGED_IN\n",
    });
    expect(await new Iscsi(executor).login({ ...key, iface }, o)).toMatchObject({ sid: 4 });
  });
});

describe("logout", () => {
  it("is done when there is no session", async () => {
    await new Iscsi(new ScriptedExecutor({ nodes: { "/proc/self/mountinfo": mountinfo } })).logout({ target }, o);
  });

  it.each([{}, { exitCode: 21, stderr: "iscsiadm: No matching sessions found\n" }])("proves the end: %j", async (result) => {
    const nodes = { ...sessions(), "/proc/self/mountinfo": mountinfo };
    const executor = new ScriptedExecutor({ nodes, runs: [{ ...logout, ...result }] });
    change(executor, 1, {});
    await new Iscsi(executor).logout({ target }, o);
    expect(executor.leftOver).toBe(0);
  });

  it.each([
    ["its filesystem is mounted", "95 27 8:0 / /mnt/a rw,noatime shared:48 - ext4 /dev/sda rw\n"],
    ["its node is bound somewhere", "101 27 0:5 /sda /mnt/dev rw shared:2 - devtmpfs udev rw\n"],
  ])("is refused while %s", async (_, line) => {
    const executor = new ScriptedExecutor({ nodes: { ...sessions(), "/proc/self/mountinfo": mountinfo + line } });
    await expect(new Iscsi(executor).logout({ target }, o)).rejects.toMatchObject({ reason: "precondition" });
  });
});

describe("logout under something stacked", () => {
  const holder = (sid: number, disk: string): Record<string, ScriptedNode> => {
    const at = `/sys/class/iscsi_session/session${sid}/device/target${sid}:0:0/${sid}:0:0:0/block/${disk}/holders/dm-0`;
    return { [`${at}/dev`]: "253:0\n", [`${at}/dm/name`]: "vg0-data\n", [`${at}/dm/uuid`]: "LVM-abc\n" };
  };

  it("is refused, naming it", async () => {
    const executor = new ScriptedExecutor({ nodes: { ...sessions(), ...holder(2, "sda"), "/proc/self/mountinfo": mountinfo } });
    await expect(new Iscsi(executor).logout({ target }, o)).rejects.toMatchObject({
      reason: "precondition",
      message: expect.stringContaining("held by LVM volume vg0-data (dm-0)") as string,
      hint: expect.stringContaining("vgchange -an vg0") as string,
    });
  });

  it("does not mind what lies on the disk of another session", async () => {
    const executor = new ScriptedExecutor({ nodes: { ...sessions(), ...holder(3, "sdb"), "/proc/self/mountinfo": mountinfo }, runs: [logout] });
    change(executor, 2, {});
    await new Iscsi(executor).logout({ target }, o);
  });
});

describe("abandoning a session", () => {
  const mounted = `${mountinfo}95 27 8:0 / /mnt/a rw,noatime shared:48 - ext4 /dev/sda rw\n`;

  it("logs out although its device is mounted, once the session is dead", async () => {
    const nodes = { ...sessions(), "/proc/self/mountinfo": mounted, "/sys/class/iscsi_session/session2/state": "FAILED\n" };
    const executor = new ScriptedExecutor({ nodes, runs: [logout] });
    change(executor, 2, {});
    await new Iscsi(executor).abandonSession({ target }, o);
    expect(executor.leftOver).toBe(0);
  });

  it("is refused while the session is logged in", async () => {
    const executor = new ScriptedExecutor({ nodes: { ...sessions(), "/proc/self/mountinfo": mounted } });
    await expect(new Iscsi(executor).abandonSession({ target }, o)).rejects.toMatchObject({ reason: "precondition" });
  });

  it("is done when there is none", async () => {
    await new Iscsi(new ScriptedExecutor()).abandonSession({ target }, o);
  });
});

describe("records of a target", () => {
  const nodes = { "/etc/iscsi/nodes": { entries: ["a", "b"] }, [`/etc/iscsi/nodes/${target}`]: { entries: ["10.9.0.2,3260,1", "fd00::2,3260,1", "lost+found"] } };

  it("are listed by target", async () => {
    expect(await new Iscsi(new ScriptedExecutor({ nodes })).listRecordedTargets(o)).toEqual(["a", "b"]);
    expect(await new Iscsi(new ScriptedExecutor()).listRecordedTargets(o)).toEqual([]);
  });

  it("go with every portal", async () => {
    const executor = new ScriptedExecutor({ nodes });
    await new Iscsi(executor).removeRecordsOf(target, o);
    expect(executor.log.filter((line) => line.startsWith("unlink"))).toEqual([
      `unlink /etc/iscsi/nodes/${target}/10.9.0.2,3260,1/default`,
      `unlink /etc/iscsi/nodes/${target}/fd00::2,3260,1/default`,
    ]);
  });
});

describe("files", () => {
  const at = "/etc/iscsi/nodes/iqn.2026-01.io.zfsilo:vhandle1";

  it("writes the record for root alone, its secret hidden, and tells of those for other portals", async () => {
    const executor = new ScriptedExecutor({ nodes: { [at]: { entries: ["10.9.0.2,3260,1", "fd00::2,3260,1"] } } });
    const chap = { userid: "u", password: new Secret("p") };
    const others = await new Iscsi(executor).writeNodeRecord({ ...key, chap, replacementTimeoutSeconds: 60 }, o);
    expect(others).toEqual([{ address: "fd00::2", port: 3260 }]);
    expect(executor.log).toEqual([
      "mkdir /etc/iscsi/nodes",
      `mkdir ${at}`,
      `mkdir ${at}/10.9.0.2,3260,1`,
      `write ${at}/10.9.0.2,3260,1/default [secret]`,
      `list ${at}`,
    ]);
    const operations = executor.batches[0] ?? [];
    expect(operations.slice(0, 3).every((operation) => operation.op === "mkdir" && operation.mode === 0o700)).toBe(true);
    expect(operations[3]).toMatchObject({ create: { mode: 0o600 } });
  });

  it("removes a record and tolerates what is gone or shared", async () => {
    const executor = new ScriptedExecutor({ nodes: { [at]: { errno: "ENOTEMPTY" } } });
    await new Iscsi(executor).removeNodeRecord(key, o);
    expect(executor.log).toEqual([
      `unlink ${at}/10.9.0.2,3260,1/default`,
      `rmdir ${at}/10.9.0.2,3260,1`,
      `rmdir ${at}`,
    ]);
  });

  it("lists records", async () => {
    const executor = new ScriptedExecutor({ nodes: { [`${at}/fd00::1,3260,1/default`]: "x", "/etc/iscsi/nodes/a/b/c": "" } });
    expect(await new Iscsi(executor).listNodeRecords(o)).toEqual([
      { target, iface: "default", portal: { address: "fd00::1", port: 3260 } },
    ]);
  });

  it("reads the initiator name, or says how to set it", async () => {
    const path = "/etc/iscsi/initiatorname.iscsi";
    const named = new ScriptedExecutor({ nodes: { [path]: "InitiatorName=iqn.2026-01.io.zfsilo.vm:take\n" } });
    expect(await new Iscsi(named).initiatorName(o)).toBe("iqn.2026-01.io.zfsilo.vm:take");
    for (const nodes of [{}, { [path]: "GenerateName=yes\n" }, { [path]: "InitiatorName=Bad Name\n" }]) {
      await expect(new Iscsi(new ScriptedExecutor({ nodes })).initiatorName(o)).rejects.toMatchObject({
        reason: "precondition",
      });
    }
  });
});
