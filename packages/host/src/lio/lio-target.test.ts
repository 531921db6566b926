import { FileOperationError, type FileOperation } from "@zfsilo/command";
import { parseVolumeHandle, Secret } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { callOptions as o, ScriptedExecutor, type ScriptedNode } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { LioTarget } from "./lio-target.ts";
import { parseIqn, parsePortal } from "./names.ts";
import { stateReads } from "./state.ts";

const handle = parseVolumeHandle("0123456789abcdef");
const target = parseIqn("iqn.2026-01.io.zfsilo:0123456789abcdef");
const initiator = parseIqn("iqn.2026-01.io.zfsilo.vm:take");
const other = "iqn.2026-01.io.zfsilo.vm:other";
const devicePath = "/dev/zvol/tank/zfsilo/0123456789abcdef";
const portals = [parsePortal({ address: "10.9.0.2", port: 3260 }), parsePortal({ address: "fd00::1", port: 3260 })];
const spec = { handle, target, devicePath, portals };
const key = { handle, target };

const root = "/sys/kernel/config/target";
const B = `${root}/core/iblock_0/${handle}`;
const Q = `${root}/iscsi/${target}`;
const G = `${Q}/tpgt_1`;
const A = `${G}/acls/${initiator}`;
const S = `${Q}/fabric_statistics/iscsi_instance/sessions`;

const backstore: Record<string, ScriptedNode> = {
  [`${B}/udev_path`]: `${devicePath}\n`,
  [`${B}/wwn/vpd_unit_serial`]: `T10 VPD Unit Serial Number: ${handle}\n`,
  [`${B}/enable`]: "1\n",
  [`${B}/attrib/emulate_tpu`]: "1\n",
};
const exported: Record<string, ScriptedNode> = {
  ...backstore,
  [`${root}/iscsi/lio_version`]: "Datera Inc. iSCSI Target v4.1.0\n",
  [Q]: { entries: ["param", "tpgt_1"] },
  [`${G}/lun`]: { entries: ["lun_0"] },
  [`${G}/lun/lun_0/${handle}`]: { link: "../../../../../core/iblock_0/0123456789abcdef" },
  [`${G}/lun/lun_0/${handle}/udev_path`]: `${devicePath}\n`,
  [`${G}/np`]: { entries: ["10.9.0.2:3260", "[fd00::1]:3260"] },
  [`${G}/np/10.9.0.2:3260/iser`]: "0\n",
  [`${G}/np/[fd00::1]:3260/iser`]: "0\n",
  [`${G}/enable`]: "1\n",
  [`${G}/attrib/generate_node_acls`]: "0\n",
  [`${G}/attrib/demo_mode_write_protect`]: "0\n",
  [`${G}/attrib/authentication`]: "1\n",
  [`${G}/acls`]: { entries: [] },
};
const admitted: Record<string, ScriptedNode> = {
  ...exported,
  [`${G}/acls`]: { entries: [other, initiator] },
  [A]: { entries: ["auth", "info", "lun_0"] },
  [`${A}/info`]: readTestdata(import.meta.url, "acl-info-logged-in.linux-6.1.stdout.txt"),
  [`${A}/auth/userid`]: "user1\n",
  [`${A}/lun_0/write_protect`]: "0\n",
  [`${A}/lun_0/lun`]: { link: "../../../../../../target/iscsi/lun/lun_0" },
  [`${G}/acls/${other}/info`]: readTestdata(import.meta.url, "acl-info-no-session.linux-6.1.stdout.txt"),
  [`${G}/acls/${other}/auth/userid`]: "NULL\n",
  [`${G}/acls/${other}/lun_0/write_protect`]: "",
};

const mutations = (executor: ScriptedExecutor): string[] =>
  executor.log.filter((line) => !/^(?:read|readlink|read-glob|list) /.test(line));

/** Makes the n-th batch fail at the first operation on `path`, once the operations before it are logged. */
function failOnce(executor: ScriptedExecutor, batch: number, path: string, errno: string, then: () => void): void {
  executor.onBatch = (index): void => {
    if (index === batch) executor.nodes.set(path, { errno });
    if (index === batch + 1) {
      executor.nodes.delete(path);
      then();
    }
  };
}

const become = (executor: ScriptedExecutor, nodes: Record<string, ScriptedNode>): void => {
  for (const [path, node] of Object.entries(nodes)) executor.nodes.set(path, node);
};

/** Lets the reads that end the n-th batch see `nodes`. */
function afterMutations(executor: ScriptedExecutor, nodes: Record<string, ScriptedNode>): void {
  executor.onBatch = (): void => {
    become(executor, nodes);
  };
}

describe("ensureExport", () => {
  it("makes a fresh export in one batch, in the order LIO wants, and reads it back", async () => {
    const executor = new ScriptedExecutor();
    afterMutations(executor, exported);
    const made = await new LioTarget(executor).ensureExport(spec, o);
    expect(executor.batches).toHaveLength(1);
    expect(mutations(executor)).toEqual([
      `mkdir ${root}/iscsi`,
      `mkdir ${root}/core/iblock_0`,
      `mkdir ${B}`,
      `write ${B}/control udev_path=${devicePath}`,
      `write ${B}/udev_path ${devicePath}`,
      `write ${B}/wwn/vpd_unit_serial ${handle}`,
      `write ${B}/enable 1`,
      `write ${B}/attrib/emulate_tpu 1`,
      `mkdir ${Q}`,
      `mkdir ${G}`,
      `mkdir ${G}/lun/lun_0`,
      `symlink ${G}/lun/lun_0/${handle} -> ${B}`,
      `write ${G}/attrib/generate_node_acls 0`,
      `write ${G}/attrib/demo_mode_write_protect 0`,
      `write ${G}/attrib/authentication 1`,
      `mkdir ${G}/np/10.9.0.2:3260`,
      `mkdir ${G}/np/[fd00::1]:3260`,
      `write ${G}/enable 1`,
    ]);
    expect(made).toEqual({
      handle,
      target,
      backstore: { devicePath, serial: handle, enabled: true },
      linked: true,
      portals,
      enabled: true,
      authentication: true,
      initiators: [],
    });
  });

  it("tells an export how new it is, with what changes access and before it", async () => {
    const executor = new ScriptedExecutor({ nodes: { ...exported, [`${B}/alias`]: "zfsilo generation 7\n" } });
    const lio = new LioTarget(executor);
    expect((await lio.findExport(key, o))?.backstore).toMatchObject({ generation: 7 });
    executor.nodes.set(A, { entries: [] });
    executor.nodes.set(`${G}/acls`, { entries: [] });
    await lio.removeInitiator(target, initiator, o, { handle, generation: 8 });
    expect(mutations(executor).slice(0, 2)).toEqual([`write ${B}/alias zfsilo generation 8`, `write ${G}/enable 0`]);
    executor.nodes.set(`${B}/alias`, "somebody's disk\n");
    expect((await lio.findExport(key, o))?.backstore).not.toHaveProperty("generation");
  });

  it("completes what an earlier attempt left, and makes nothing twice", async () => {
    const executor = new ScriptedExecutor({ nodes: backstore });
    failOnce(executor, 0, B, "EEXIST", () => undefined);
    const before = executor.onBatch;
    executor.onBatch = (index, operations): void => {
      before(index, operations);
      if (index === 2) become(executor, exported);
    };
    await new LioTarget(executor).ensureExport(spec, o);
    const completing = executor.batches[2]?.filter(({ op }) => !op.startsWith("read") && op !== "list").map(({ path }) => path);
    expect(completing?.slice(0, 4)).toEqual([`${root}/iscsi`, Q, G, `${G}/lun/lun_0`]);
    expect(completing).not.toContain(B);
  });

  it("outlasts error 512 while other volumes are being made", async () => {
    const executor = new ScriptedExecutor();
    failOnce(executor, 0, `${B}/enable`, "E512", () => {
      become(executor, { ...backstore, [`${B}/enable`]: "0\n" });
    });
    const before = executor.onBatch;
    executor.onBatch = (index, operations): void => {
      before(index, operations);
      if (index === 2) become(executor, exported);
    };
    await new LioTarget(executor).ensureExport(spec, o);
    expect(executor.batches[2]?.[1]).toMatchObject({ op: "write", path: `${B}/enable` });
  });

  it.each([
    ["another device", { [`${B}/udev_path`]: "/dev/zvol/tank/other\n" }],
    ["another serial", { [`${B}/wwn/vpd_unit_serial`]: "T10 VPD Unit Serial Number: fedcba9876543210\n" }],
  ])("never adopts a backstore over %s", async (_, difference) => {
    const executor = new ScriptedExecutor({ nodes: { ...backstore, ...difference } });
    failOnce(executor, 0, B, "EEXIST", () => undefined);
    await expect(new LioTarget(executor).ensureExport(spec, o)).rejects.toMatchObject({ reason: "precondition" });
    expect(executor.batches).toHaveLength(2);
  });

  it("loads the modules a freshly booted host lacks", async () => {
    const modules = ["target_core_mod", "target_core_iblock", "iscsi_target_mod"];
    const executor = new ScriptedExecutor({
      nodes: { "/sys/module": { entries: [] }, [root]: { entries: ["core"] } },
      runs: modules.map((name) => ({ argv: `modprobe ${name}` })),
    });
    failOnce(executor, 0, `${root}/iscsi`, "ENOENT", () => {
      become(executor, exported);
    });
    await new LioTarget(executor).ensureExport(spec, o);
    expect(executor.leftOver).toBe(0);
  });

  it("does not wait for a device that is not there", async () => {
    const executor = new ScriptedExecutor();
    failOnce(executor, 0, `${B}/enable`, "ENOENT", () => undefined);
    await expect(new LioTarget(executor).ensureExport(spec, o)).rejects.toMatchObject({
      reason: "precondition",
      hint: expect.stringContaining("device") as string,
    });
    expect(executor.batches).toHaveLength(1);
  });

  it.each([
    ["a target that serves all addresses", { [`${root}/iscsi/iqn.2003-01.x:y/tpgt_1/np/0.0.0.0:3260/iser`]: "0\n" }, "target iqn.2003-01.x:y serves 0.0.0.0:3260", "targetcli"],
    ["a program", { "/proc/net/tcp": "   0: 0200090A:0CBC 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n" }, "a program listens at 10.9.0.2:3260", "ss -ltnp"],
    ["nobody that can be seen", {}, "the kernel refuses that address and port", "dmesg"],
  ])("says who has the port: %s", async (_, nodes, why, hint) => {
    const executor = new ScriptedExecutor({ nodes: { ...nodes, [`${G}/np/10.9.0.2:3260`]: { errno: "EINVAL" } } });
    await expect(new LioTarget(executor).ensureExport(spec, o)).rejects.toMatchObject({
      reason: "precondition",
      message: expect.stringContaining(`listen at 10.9.0.2:3260: ${why}`) as string,
      hint: expect.stringContaining(hint) as string,
    });
    expect(executor.batches).toHaveLength(2);
  });

  it("begins again when the directory of backstores went with somebody's last one", async () => {
    const executor = new ScriptedExecutor();
    failOnce(executor, 0, B, "ENOENT", () => {
      executor.onBatch = (index): void => {
        if (index === 2) become(executor, exported);
      };
    });
    await new LioTarget(executor).ensureExport(spec, o);
    expect(executor.batches[2]?.slice(0, 3).map(({ path }) => path)).toEqual([`${root}/iscsi`, `${root}/core/iblock_0`, B]);
  });

  it("reports no success that does not read back", async () => {
    const executor = new ScriptedExecutor();
    afterMutations(executor, { ...exported, [`${G}/enable`]: "0\n" });
    await expect(new LioTarget(executor).ensureExport(spec, o)).rejects.toMatchObject({ reason: "internal" });
  });

  it.each([{ devicePath: "/dev/zvol/tank/a,readonly=1" }, { devicePath: "tank/a" }, { portals: [] }])(
    "refuses %j before asking",
    async (bad) => {
      const executor = new ScriptedExecutor();
      await expect(new LioTarget(executor).ensureExport({ ...spec, ...bad }, o)).rejects.toMatchObject({
        reason: "invalid_argument",
      });
      expect(executor.log).toEqual([]);
    },
  );
});

describe("finding", () => {
  const initiators = [
    { iqn: other, session: "none" },
    { iqn: initiator, session: "active", mappedLun: 0, userid: "user1" },
  ];

  it("finds an export with its initiators in one batch", async () => {
    const executor = new ScriptedExecutor({ nodes: admitted });
    expect(await new LioTarget(executor).findExport(key, o)).toMatchObject({ linked: true, initiators });
    expect(executor.batches).toHaveLength(1);
  });

  it("tells nothing from half", async () => {
    expect(await new LioTarget(new ScriptedExecutor()).findExport(key, o)).toBeUndefined();
    const half = await new LioTarget(new ScriptedExecutor({ nodes: backstore })).findExport(key, o);
    expect(half).toMatchObject({ linked: false, enabled: false, backstore: { enabled: true } });
    expect(half).not.toHaveProperty("target");
  });

  it("lists whole and partial exports, and leaves out what is not ours", async () => {
    const orphan = "fedcba9876543210";
    const nodes = {
      ...admitted,
      [`${root}/core/iblock_0/${orphan}/udev_path`]: "/dev/zvol/tank/x\n",
      [`${root}/core/iblock_0/${orphan}/wwn/vpd_unit_serial`]: `T10 VPD Unit Serial Number: ${orphan}\n`,
      [`${root}/core/iblock_0/${orphan}/enable`]: "0\n",
      [`${root}/core/iblock_0/foreign/udev_path`]: "/dev/sdx\n",
      [`${root}/iscsi/iqn.2003-01.org.linux-iscsi.give:sn.1/tpgt_1/enable`]: "1\n",
      [`${root}/iscsi/iqn.2026-01.io.zfsilo:00000000000000aa/tpgt_1/enable`]: "0\n",
    };
    const executor = new ScriptedExecutor({ nodes });
    expect(await new LioTarget(executor).listExports(o)).toMatchObject([
      { handle: "00000000000000aa", target: "iqn.2026-01.io.zfsilo:00000000000000aa", linked: false },
      { handle, target, linked: true, enabled: true, authentication: true, portals, initiators },
      { handle: orphan, linked: false, backstore: { enabled: false } },
    ]);
    expect(executor.batches).toHaveLength(1);
  });
});

describe("initiators", () => {
  const chap = { userid: "user1", password: new Secret("open sesame 1") };

  it("admits one with its secret kept out of sight", async () => {
    const executor = new ScriptedExecutor({ nodes: admitted });
    await new LioTarget(executor).ensureInitiator({ target, initiator, chap }, o);
    expect(mutations(executor)).toEqual([
      `mkdir ${A}`,
      `mkdir ${A}/lun_0`,
      `symlink ${A}/lun_0/lun -> ${G}/lun/lun_0`,
      `write ${A}/lun_0/write_protect 0`,
      `write ${A}/auth/password [secret]`,
      `write ${A}/auth/userid_mutual NULL`,
      `write ${A}/auth/password_mutual [secret]`,
      `write ${A}/auth/userid user1`,
    ]);
    expect(executor.batches).toHaveLength(1);
  });

  it("lets one read alone, and looks whether the target has understood", async () => {
    const readers = { ...admitted, [`${A}/lun_0/write_protect`]: "1\n" };
    const executor = new ScriptedExecutor({ nodes: readers });
    await new LioTarget(executor).ensureInitiator({ target, initiator, chap, readOnly: true }, o);
    expect(mutations(executor)).toContain(`write ${A}/lun_0/write_protect 1`);
    const deaf = new ScriptedExecutor({ nodes: admitted });
    const work = new LioTarget(deaf).ensureInitiator({ target, initiator, chap, readOnly: true }, o);
    await expect(work).rejects.toMatchObject({ reason: "internal" });
  });

  it.each([
    ["a user id that reads back otherwise", { [`${A}/auth/userid`]: "user2\n" }, { chap }, "internal"],
    ["no secret where one is demanded", {}, {}, "precondition"],
    ["a target that takes no logins", { [`${G}/enable`]: "0\n" }, { chap }, "precondition"],
    ["no export", { [A]: { errno: "ENOENT" } }, { chap }, "precondition"],
  ])("does not call it done with %s", async (_, difference, credentials, reason) => {
    const executor = new ScriptedExecutor({ nodes: { ...admitted, ...difference } });
    const work = new LioTarget(executor).ensureInitiator({ target, initiator, ...credentials }, o);
    await expect(work).rejects.toMatchObject({ reason });
  });

  it.each([
    { ...chap, userid: "" },
    { ...chap, userid: "NULL" },
    { ...chap, userid: "0b12ab34cd56" },
    { ...chap, userid: "0Xab" },
    { ...chap, password: new Secret("a\nb") },
    { ...chap, mutualUserid: "x" },
    { ...chap, password: new Secret("x".repeat(256)) },
  ])("refuses credentials that LIO would mangle (%#)", async (bad) => {
    const executor = new ScriptedExecutor();
    await expect(new LioTarget(executor).ensureInitiator({ target, initiator, chap: bad }, o)).rejects.toThrow(/^chap/);
    expect(executor.log).toEqual([]);
  });
});

describe("the fence", () => {
  const fenced = { ...admitted, [`${G}/acls`]: { entries: [other] } };

  it("closes the portal group, removes the ACL from the inside out, opens it again and looks", async () => {
    const executor = new ScriptedExecutor({ nodes: fenced });
    await new LioTarget(executor).removeInitiator(target, initiator, o);
    expect(executor.log).toEqual([
      `list ${A}`,
      `write ${G}/enable 0`,
      `unlink ${A}/lun_0/lun`,
      `rmdir ${A}/lun_0`,
      `rmdir ${A}`,
      `read ${S}`,
      `write ${G}/enable 1`,
      `read ${S}`,
      `list ${G}/acls`,
      `read-glob ${G}/acls/*/info`,
      `read ${G}/enable`,
    ]);
  });

  const without = Object.fromEntries(Object.entries(fenced).filter(([path]) => !path.startsWith(`${A}/`)));

  it("waits until its session has ended", async () => {
    const executor = new ScriptedExecutor({ nodes: { ...without, [A]: { entries: [] }, [S]: "1\n" } });
    executor.onBatch = (index): void => {
      if (index === 3) executor.nodes.set(S, "0\n");
    };
    await new LioTarget(executor).removeInitiator(target, initiator, o);
    expect(executor.batches).toHaveLength(4);
    expect(executor.batches.slice(1).every((batch) => batch.every(({ op }) => op.startsWith("read") || op === "list"))).toBe(true);
  });

  it("waits also when the access was gone before, and counts the sessions of others as theirs", async () => {
    const others = { [`${G}/acls/${other}/info`]: readTestdata(import.meta.url, "acl-info-logged-in.linux-6.1.stdout.txt") };
    const executor = new ScriptedExecutor({ nodes: { ...without, ...others, [S]: "2\n" } });
    executor.onBatch = (index): void => {
      if (index === 3) executor.nodes.set(S, "1\n");
    };
    await new LioTarget(executor).removeInitiator(target, initiator, o);
    expect(executor.batches).toHaveLength(4);
  });

  it("does not call it done while a session is left that no access explains", async () => {
    const executor = new ScriptedExecutor({ nodes: { ...without, [A]: { entries: [] }, [S]: "1\n" } });
    await expect(new LioTarget(executor).removeInitiator(target, initiator, o)).rejects.toMatchObject({
      reason: "unavailable",
      message: expect.stringContaining("its session has not ended yet") as string,
    });
  });

  it("disturbs nobody when the initiator is already out", async () => {
    const executor = new ScriptedExecutor({ nodes: exported });
    await new LioTarget(executor).removeInitiator(target, initiator, o);
    expect(mutations(executor)).toEqual([]);
    const nothing = new ScriptedExecutor();
    await new LioTarget(nothing).removeInitiator(target, initiator, o);
    expect(mutations(nothing)).toEqual([]);
  });

  it("opens the portal group that an interrupted fence left closed", async () => {
    const executor = new ScriptedExecutor({ nodes: { ...exported, [`${G}/enable`]: "0\n" } });
    executor.onBatch = (index): void => {
      if (index === 2) executor.nodes.set(`${G}/enable`, "1\n");
    };
    await new LioTarget(executor).removeInitiator(target, initiator, o);
    expect(mutations(executor)).toEqual([`write ${G}/enable 1`]);
  });

  it("waits while the session is being torn down", async () => {
    const executor = new ScriptedExecutor({ nodes: fenced });
    const isRmdir = (operations: readonly FileOperation[]): boolean => operations.some(({ op }) => op === "rmdir");
    let refusals = 2;
    const files = executor.files.bind(executor);
    executor.files = async (operations, options) => {
      if (isRmdir(operations) && refusals-- > 0) throw new FileOperationError("give", 4, { op: "rmdir", path: A }, "EBUSY");
      return await files(operations, options);
    };
    await new LioTarget(executor).removeInitiator(target, initiator, o);
    expect(refusals).toBe(-1);
  });

  it("does not call it done while the ACL is there", async () => {
    const executor = new ScriptedExecutor({ nodes: admitted });
    await expect(new LioTarget(executor).removeInitiator(target, initiator, o)).rejects.toMatchObject({ reason: "internal" });
  });
});

describe("removeExport", () => {
  it("takes down everything that was seen, links before what they point at", async () => {
    const executor = new ScriptedExecutor({ nodes: admitted });
    executor.onBatch = (index): void => {
      if (index === 1) executor.nodes.clear();
    };
    await new LioTarget(executor).removeExport(key, o);
    expect(mutations(executor)).toEqual([
      `write ${G}/enable 0`,
      `unlink ${G}/acls/${other}/lun_0/lun`,
      `rmdir ${G}/acls/${other}/lun_0`,
      `rmdir ${G}/acls/${other}`,
      `unlink ${A}/lun_0/lun`,
      `rmdir ${A}/lun_0`,
      `rmdir ${A}`,
      `unlink ${G}/lun/lun_0/${handle}`,
      `rmdir ${G}/lun/lun_0`,
      `rmdir ${G}/np/10.9.0.2:3260`,
      `rmdir ${G}/np/[fd00::1]:3260`,
      `rmdir ${G}`,
      `rmdir ${Q}`,
      `rmdir ${B}`,
      `rmdir ${root}/core/iblock_0`,
    ]);
    expect(executor.batches[1]?.at(-1)).toEqual(stateReads(key).at(-1));
  });

  it("takes down half an export, and does nothing when nothing is there", async () => {
    const half = new ScriptedExecutor({ nodes: backstore });
    half.onBatch = (index): void => {
      if (index === 1) half.nodes.clear();
    };
    await new LioTarget(half).removeExport(key, o);
    expect(mutations(half)).toEqual([`rmdir ${B}`, `rmdir ${root}/core/iblock_0`]);
    const nothing = new ScriptedExecutor();
    await new LioTarget(nothing).removeExport(key, o);
    expect(nothing.batches).toHaveLength(1);
  });

  it("does not call it done while a piece is left", async () => {
    const executor = new ScriptedExecutor({ nodes: backstore });
    await expect(new LioTarget(executor).removeExport(key, o)).rejects.toMatchObject({ reason: "internal" });
  });
});

describe("ensureModules", () => {
  it("loads what is missing, each by itself", async () => {
    const executor = new ScriptedExecutor({
      nodes: { "/sys/module": { entries: ["target_core_mod", "zfs"] }, [root]: { entries: ["core"] } },
      runs: [{ argv: "modprobe target_core_iblock" }, { argv: "modprobe iscsi_target_mod" }],
    });
    await new LioTarget(executor).ensureModules(o);
    expect(executor.leftOver).toBe(0);
  });

  it("says which module a kernel lacks", async () => {
    const argv = "modprobe target_core_mod";
    const stderr = "modprobe: FATAL: Module target_core_mod not found in directory /lib/modules/6.1.0";
    const executor = new ScriptedExecutor({
      nodes: { "/sys/module": { entries: [] } },
      runs: [{ argv, exitCode: 1, stderr }],
    });
    await expect(new LioTarget(executor).ensureModules(o)).rejects.toMatchObject({ reason: "precondition" });
  });
});
