import { CommandError } from "@zfsilo/command";
import { describe, expect, it } from "vitest";
import { parsePortal } from "../lio/names.ts";
import { callOptions as o, ScriptedExecutor, type ScriptedNode, type ScriptedRun } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { parseDatasetName, parsePoolName } from "../zfs/names.ts";
import { poolColumns, spaceColumns } from "../zfs/parse.ts";
import { parseFibTrie, parseIfInet6 } from "./addresses.ts";
import { checkHost, type HostRequirements } from "./preflight.ts";

const fibTrie = readTestdata(import.meta.url, "fib_trie.linux-6.1.txt");
const ifInet6 = readTestdata(import.meta.url, "if_inet6.linux-6.1.txt");

const target: HostRequirements = {
  roles: ["target"],
  iqnPrefix: "iqn.2026-01.io.zfsilo",
  pools: [{ name: parsePoolName("tank"), parent: parseDatasetName("tank/zfsilo") }],
  portals: [parsePortal({ address: "10.9.0.2", port: 3260 })],
};
const initiator: HostRequirements = { roles: ["initiator"], iqnPrefix: "iqn.2026-01.io.zfsilo", pools: [], portals: [] };

const now = (): string => `${Math.floor(Date.now() / 1000)}.500000000\n`;
const space = ["type\tfilesystem", "available\t100", "used\t1", "referenced\t1", "quota\t0", "reservation\t0"];
const targetRuns: Record<string, Omit<ScriptedRun, "argv">> = {
  "date +%s.%N": { stdout: now() },
  "zfs version": { stdout: "zfs-2.1.11-1+deb12u1\nzfs-kmod-2.1.11-1+deb12u1\n" },
  [`zpool list -Hp -o ${poolColumns} tank`]: { stdout: "tank\t1\t10\t1\t9\tONLINE\toff\n" },
  [`zfs get -Hp -o name,property,value,source ${spaceColumns} tank tank/zfsilo`]: {
    stdout: ["tank", "tank/zfsilo"].flatMap((name) => space.map((line) => `${name}\t${line}\t-\n`)).join(""),
  },
};
const targetNodes: Record<string, ScriptedNode> = {
  "/proc/sys/kernel/osrelease": "6.1.0-44-amd64\n",
  "/sys/module": { entries: ["iscsi_target_mod", "target_core_iblock", "target_core_mod", "zfs"] },
  "/sys/kernel/config": { entries: ["target"] },
  "/proc/net/fib_trie": fibTrie,
  "/proc/net/if_inet6": ifInet6,
};
const initiatorRuns: Record<string, Omit<ScriptedRun, "argv">> = {
  "date +%s.%N": { stdout: now() },
  "iscsiadm --version": { stdout: "iscsiadm version 2.1.8\n" },
  "mkfs.ext4 -V": { stderr: "mke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0\n" },
  "mkfs.xfs -V": { stdout: "mkfs.xfs version 6.1.0\n" },
};
const initiatorNodes: Record<string, ScriptedNode> = {
  "/proc/sys/kernel/osrelease": "6.1.0-44-amd64\n",
  "/sys/module": { entries: ["iscsi_tcp", "libiscsi"] },
  "/proc/361/comm": "iscsid\n",
  "/etc/iscsi/initiatorname.iscsi": "InitiatorName=iqn.2026-01.io.zfsilo.vm:take\n",
};

const targets = "/sys/kernel/config/target/iscsi";
const tcp = (address: string): string => `   0: ${address}:0CBC ${"0".repeat(address.length)}:0000 0A 00000000:00000000 00:00000000 00000000\n`;
const tcp6 = (portal: "[::]:3260" | "[fd00::1]:3260"): string => tcp(portal === "[::]:3260" ? "0".repeat(32) : "000000FD000000000000000001000000");

/** Answers by argv, in whatever order the checks run. */
class AnsweringExecutor extends ScriptedExecutor {
  readonly #answers: Readonly<Record<string, Omit<ScriptedRun, "argv">>>;

  constructor(answers: Readonly<Record<string, Omit<ScriptedRun, "argv">>>, nodes: Record<string, ScriptedNode>) {
    super({ nodes });
    this.#answers = answers;
  }

  override run(argv: readonly [string, ...string[]]): ReturnType<ScriptedExecutor["run"]> {
    const answer = this.#answers[argv.join(" ")];
    if (answer === undefined) return Promise.reject(new CommandError("precondition", "give", argv, "not_started", new Error("ENOENT")));
    return Promise.resolve({ exitCode: 0, stdout: "", stderr: "", ...answer });
  }
}

async function states(answers: typeof targetRuns, nodes: typeof targetNodes, needs: HostRequirements): Promise<Record<string, string>> {
  const checks = await checkHost(new AnsweringExecutor(answers, nodes), needs, o);
  for (const check of checks) expect(check.remedy === "", check.name).toBe(check.state === "ok");
  return Object.fromEntries(checks.map(({ name, state }) => [name, state]));
}

describe("checkHost", () => {
  it("finds nothing wrong with a good target", async () => {
    expect(await states(targetRuns, targetNodes, target)).toEqual({
      clock: "ok",
      kernel: "ok",
      "lvm.zvols": "ok",
      "udev.zvols": "ok",
      "lio.saved": "ok",
      "tool.zfs": "ok",
      "pool.tank": "ok",
      "dataset.tank/zfsilo": "ok",
      "module.zfs": "ok",
      "module.target_core_mod": "ok",
      "module.target_core_iblock": "ok",
      "module.iscsi_target_mod": "ok",
      configfs: "ok",
      "portal.10.9.0.2:3260": "ok",
    });
  });

  it("finds nothing wrong with a good initiator", async () => {
    const found = await states(initiatorRuns, initiatorNodes, initiator);
    expect(Object.values(found).every((state) => state === "ok")).toBe(true);
    expect(Object.keys(found)).toContain("initiator.name");
  });

  it.each([
    ["clock", "failed", { "date +%s.%N": { stdout: "1000000000.000000000\n" } }, {}],
    ["clock", "failed", { "date +%s.%N": { stdout: "%s.%N\n" } }, {}],
    ["clock", "warning", { "date +%s.%N": { stdout: `${Math.floor(Date.now() / 1000) + 60}.000000000` } }, {}],
    ["tool.zfs", "failed", { "zfs version": { exitCode: 1, stderr: "The ZFS modules cannot be auto-loaded." } }, {}],
    ["pool.tank", "failed", { [`zpool list -Hp -o ${poolColumns} tank`]: { exitCode: 1, stderr: "cannot open 'tank': no such pool" } }, {}],
    ["pool.tank", "warning", { [`zpool list -Hp -o ${poolColumns} tank`]: { stdout: "tank\t1\t10\t1\t9\tDEGRADED\toff\n" } }, {}],
    ["pool.tank", "failed", { [`zpool list -Hp -o ${poolColumns} tank`]: { stdout: "tank\t1\t10\t1\t9\tONLINE\ton\n" } }, {}],
    ["module.zfs", "warning", {}, { "/sys/module": { entries: [] } }],
    ["configfs", "failed", {}, { "/sys/kernel/config": { errno: "ENOENT" } }],
    ["portal.10.9.0.2:3260", "failed", {}, { "/proc/net/fib_trie": "" }],
    ["portal.10.9.0.2:3260", "failed", {}, { [`${targets}/iqn.2003-01.x:y/tpgt_1/np/0.0.0.0:3260/iser`]: "0\n" }],
    ["portal.10.9.0.2:3260", "failed", {}, { "/proc/net/tcp6": tcp6("[::]:3260") }],
    ["portal.10.9.0.2:3260", "ok", {}, { [`${targets}/iqn.2003-01.x:y/tpgt_1/np/10.9.0.2:3260/iser`]: "0\n", "/proc/net/tcp": tcp("0200090A") }],
    ["portal.10.9.0.2:3260", "ok", {}, { [`${targets}/iqn.2003-01.x:y/tpgt_1/np/10.9.0.9:3260/iser`]: "0\n", "/proc/net/tcp6": tcp6("[fd00::1]:3260") }],
    ["portal.10.9.0.2:3260", "ok", {}, { [`${targets}/iqn.2003-01.x:y/tpgt_1/np/0.0.0.0:3261/iser`]: "0\n" }],
    ["target", "failed", {}, { "/proc/net/fib_trie": { errno: "EACCES" } }],
  ] as const)("sees %s %s", async (name, state, runs, nodes) => {
    expect(await states({ ...targetRuns, ...runs }, { ...targetNodes, ...nodes }, target)).toMatchObject({ [name]: state });
  });

  it("knows that the dataset comes with the first volume, in what must be there", async () => {
    const get = (name: string): string => `zfs get -Hp -o name,property,value,source ${spaceColumns} tank ${name}`;
    const lines = (name: string): string => space.map((line) => `${name}\t${line}\t-\n`).join("");
    const absent = (name: string) => ({ exitCode: 1, stdout: lines("tank"), stderr: `cannot open '${name}': dataset does not exist\n` });
    const first = { ...targetRuns, [get("tank/zfsilo")]: absent("tank/zfsilo") };
    expect(await states(first, targetNodes, target)).toMatchObject({ "dataset.tank/zfsilo": "ok" });
    const deep = { ...target, pools: [{ name: parsePoolName("tank"), parent: parseDatasetName("tank/a/b") }] };
    const neither = { ...targetRuns, [get("tank/a/b")]: absent("tank/a/b"), [get("tank/a")]: absent("tank/a") };
    expect(await states(neither, targetNodes, deep)).toMatchObject({ "dataset.tank/a/b": "failed" });
    const above = { ...neither, [get("tank/a")]: { stdout: lines("tank") + lines("tank/a") } };
    expect(await states(above, targetNodes, deep)).toMatchObject({ "dataset.tank/a/b": "ok" });
  });

  it("sees what an initiator lacks", async () => {
    expect(await states({}, { "/sys/module": { entries: [] } }, { ...initiator, overSsh: true })).toEqual({
      clock: "failed",
      neighbours: "failed",
      "tool.perl": "failed",
      "tool.iscsiadm": "failed",
      "tool.mkfs.ext4": "failed",
      "tool.mkfs.xfs": "failed",
      "initiator.name": "failed",
      "initiator.iscsid": "warning",
      "module.iscsi_tcp": "warning",
      "module.libiscsi": "warning",
    });
  });
});

describe("addresses", () => {
  it("reads those of the host and no others", () => {
    expect([...parseFibTrie(fibTrie)].sort()).toEqual(["10.0.2.15", "10.9.0.2", "127.0.0.1"]);
    expect([...parseIfInet6(ifInet6)].sort()).toEqual(["::1", "fe80::5054:ff:fe5a:103", "fe80::5054:ff:fe5a:903", "fec0::5054:ff:fe5a:103"]);
  });
});
