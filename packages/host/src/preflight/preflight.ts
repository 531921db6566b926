import { CommandError, type Argv, type CallOptions, type Executor } from "@zfsilo/command";
import { errorChain, StorageError } from "@zfsilo/lib";
import { filesOf, namedFiles, textOf } from "../file-results.ts";
import { Iscsi } from "../iscsiadm/iscsi.ts";
import { formatPortal, type Portal } from "../lio/names.ts";
import { describeHolder, holderRemedy, holdersOf, portReads, type PortFiles } from "../lio/port-holders.ts";
import { parseDatasetName, type DatasetName, type PoolName } from "../zfs/names.ts";
import { Zfs } from "../zfs/zfs.ts";
import { parseFibTrie, parseIfInet6 } from "./addresses.ts";
import { failed, ok, warning, type HostCheck } from "./check.ts";
import { neighbourChecks } from "./neighbours.ts";

export interface HostRequirements {
  readonly roles: readonly ("target" | "initiator")[];
  /** With the dataset under which volumes are made, for targets. */
  readonly pools: readonly { readonly name: PoolName; readonly parent: DatasetName }[];
  readonly portals: readonly Portal[];
  /** What zfsilo's target names begin with. */
  readonly iqnPrefix: string;
  /** Reached by ssh, where file operations run in perl. */
  readonly overSsh?: boolean;
}

/** Certificates, tokens and logs stand this much; more is worth mending. */
const skewWarningMs = 5_000;
const skewFailureMs = 300_000;

const targetModules = ["zfs", "target_core_mod", "target_core_iblock", "iscsi_target_mod"];
const initiatorModules = ["iscsi_tcp", "libiscsi"];

/** Looks at everything a host needs and changes nothing. A check that cannot be made is a failed check, not an error. */
export async function checkHost(executor: Executor, needs: HostRequirements, o: CallOptions): Promise<HostCheck[]> {
  const checks: Promise<HostCheck[]>[] = [clockCheck(executor, o)];
  const neighbourhood = { roles: needs.roles, parent: needs.pools[0]?.parent, iqnPrefix: needs.iqnPrefix };
  checks.push(guarded("neighbours", () => neighbourChecks(executor, neighbourhood, o)));
  if (needs.overSsh === true) {
    checks.push(toolCheck("perl", "Install the perl-base package.", () => versionOf(executor, ["perl", "-v"], /\(v([\d.]+)\)/, o)));
  }
  if (needs.roles.includes("target")) checks.push(targetChecks(executor, needs, o));
  if (needs.roles.includes("initiator")) checks.push(initiatorChecks(executor, o));
  return (await Promise.all(checks)).flat();
}

async function targetChecks(executor: Executor, needs: HostRequirements, o: CallOptions): Promise<HostCheck[]> {
  const zfs = new Zfs(executor);
  const checks = await toolCheck("zfs", "Install zfsutils-linux and its kernel module.", () => zfs.version(o));
  for (const { name, parent } of needs.pools) checks.push(...(await guarded(`pool.${name}`, () => poolChecks(zfs, name, parent, o))));
  checks.push(
    ...(await guarded("target", async () => {
      const files = await namedFiles(
        executor,
        {
          modules: { op: "list", path: "/sys/module" },
          config: { op: "list", path: "/sys/kernel/config", tolerate: ["ENOENT"] },
          ipv4: { op: "read", path: "/proc/net/fib_trie", maxBytes: 16 << 20 },
          ipv6: { op: "read", path: "/proc/net/if_inet6", tolerate: ["ENOENT"] },
          ...portReads,
        },
        o,
      );
      const addresses = new Set([...parseFibTrie(textOf(files.ipv4) ?? ""), ...parseIfInet6(textOf(files.ipv6) ?? "")]);
      return [
        ...moduleChecks(targetModules, files.modules.entries ?? []),
        configfsCheck(files.config.entries),
        ...needs.portals.map((portal) => portalCheck(portal, addresses, files)),
      ];
    })),
  );
  return checks;
}

async function poolChecks(zfs: Zfs, name: PoolName, parent: DatasetName, o: CallOptions): Promise<HostCheck[]> {
  const pool = await zfs.findPool(name, o);
  if (pool === undefined) return [failed(`pool.${name}`, "not imported", `Import it: zpool import ${name}.`)];
  const state = `${pool.health}${pool.readonly ? ", read-only" : ""}`;
  const see = `See zpool status ${name}.`;
  const health =
    pool.readonly || !["ONLINE", "DEGRADED"].includes(pool.health)
      ? failed(`pool.${name}`, state, see)
      : pool.health === "DEGRADED"
        ? warning(`pool.${name}`, state, see)
        : ok(`pool.${name}`, state);
  const space = await zfs.findDatasetSpace(parent, o);
  const dataset = `dataset.${parent}`;
  if (space === undefined) return [health, await absentParent(zfs, parent, o)];
  if (space.type !== "filesystem") return [health, failed(dataset, space.type, "Choose another parent dataset.")];
  return [health, ok(dataset, `${space.availableBytes} bytes available`)];
}

/** The dataset for volumes is made with the first one, in what must be there. */
async function absentParent(zfs: Zfs, parent: DatasetName, o: CallOptions): Promise<HostCheck> {
  const name = `dataset.${parent}`;
  const above = parent.slice(0, parent.lastIndexOf("/"));
  const exists = !above.includes("/") || (await zfs.findDatasetSpace(parseDatasetName(above), o)) !== undefined;
  if (exists) return ok(name, "absent; it is made with the first volume");
  return failed(name, `absent, and so is ${above}`, `Make the dataset in which it is to lie: zfs create -p ${above}.`);
}

async function initiatorChecks(executor: Executor, o: CallOptions): Promise<HostCheck[]> {
  const iscsi = new Iscsi(executor);
  const ext4 = /mke2fs (\S+)/;
  const xfs = /version (\S+)/;
  const groups = await Promise.all([
    toolCheck("iscsiadm", "Install open-iscsi.", () => iscsi.version(o)),
    toolCheck("mkfs.ext4", "Install e2fsprogs.", () => versionOf(executor, ["mkfs.ext4", "-V"], ext4, o)),
    toolCheck("mkfs.xfs", "Install xfsprogs, or use ext4 only.", () => versionOf(executor, ["mkfs.xfs", "-V"], xfs, o)),
    guarded("initiator.name", async () => [ok("initiator.name", await iscsi.initiatorName(o))]),
    guarded("initiator.iscsid", async () => {
      const [modules, names] = await executor.files(
        [
          { op: "list", path: "/sys/module" },
          { op: "read-glob", path: "/proc/*/comm" },
        ],
        o,
      );
      const running = filesOf(names).some(([, name]) => name.trim() === "iscsid");
      const remedy = "With socket activation it starts at the first login; else: systemctl enable --now iscsid.";
      return [
        running ? ok("initiator.iscsid", "running") : warning("initiator.iscsid", "not running", remedy),
        ...moduleChecks(initiatorModules, modules?.entries ?? []),
      ];
    }),
  ]);
  return groups.flat();
}

async function clockCheck(executor: Executor, o: CallOptions): Promise<HostCheck[]> {
  return await guarded("clock", async () => {
    const before = Date.now();
    const { stdout } = await executor.run(["date", "+%s.%N"], o);
    const after = Date.now();
    const match = /^(\d+)\.(\d{3})\d*$/.exec(stdout.trim());
    if (match === null) return [failed("clock", `date answered ${JSON.stringify(stdout.slice(0, 80))}`, "Install coreutils.")];
    const host = Number(match[1]) * 1000 + Number(match[2]);
    // The answer was made somewhere between question and arrival.
    const skew = host < before ? host - before : host > after ? host - after : 0;
    const observed = `${(skew / 1000).toFixed(1)} s off ours`;
    const remedy = "Run a time service on both machines (chrony, systemd-timesyncd).";
    if (Math.abs(skew) > skewFailureMs) return [failed("clock", observed, remedy)];
    return [Math.abs(skew) > skewWarningMs ? warning("clock", observed, remedy) : ok("clock", observed)];
  });
}

function moduleChecks(wanted: readonly string[], loaded: readonly string[]): HostCheck[] {
  return wanted.map((name) =>
    loaded.includes(name)
      ? ok(`module.${name}`, "loaded")
      : warning(`module.${name}`, "not loaded", `It is loaded when first needed; to see whether it can be: modprobe ${name}.`),
  );
}

function configfsCheck(entries: readonly string[] | undefined): HostCheck {
  const remedy = "Mount it: systemctl start sys-kernel-config.mount.";
  if (entries === undefined) return failed("configfs", "/sys/kernel/config does not exist", remedy);
  if (entries.length === 0) return warning("configfs", "/sys/kernel/config is empty", remedy);
  return ok("configfs", `/sys/kernel/config holds ${entries.join(", ")}`);
}

function portalCheck(portal: Portal, addresses: ReadonlySet<string>, ports: PortFiles): HostCheck {
  const name = `portal.${formatPortal(portal)}`;
  const holders = holdersOf(portal, ports);
  if (holders[0] !== undefined) return failed(name, holders.map(describeHolder).join(", "), holderRemedy(holders[0]));
  if (portal.address === "0.0.0.0" || portal.address === "::") return ok(name, "all addresses");
  if (addresses.has(portal.address)) return ok(name, "present");
  const seen = [...addresses].filter((address) => address !== "127.0.0.1" && address !== "::1").join(", ");
  return failed(name, `the host has ${seen === "" ? "no address" : seen}`, "Configure the address on the host, or correct the portal.");
}

async function toolCheck(tool: string, remedy: string, version: () => Promise<string>): Promise<HostCheck[]> {
  const name = `tool.${tool}`;
  try {
    return [ok(name, await version())];
  } catch (error) {
    if (error instanceof CommandError && error.outcome === "not_started") return [failed(name, errorChain(error), remedy)];
    return [failed(name, errorChain(error), hintOf(error) ?? "See what the command says on the host.")];
  }
}

async function versionOf(executor: Executor, argv: Argv, pattern: RegExp, o: CallOptions): Promise<string> {
  const { stdout, stderr, exitCode } = await executor.run(argv, o);
  const version = pattern.exec(`${stdout}\n${stderr}`)?.[1];
  if (version === undefined) throw new StorageError("internal", `read the version of ${argv[0]} (exit ${exitCode})`);
  return version;
}

async function guarded(name: string, check: () => Promise<HostCheck[]>): Promise<HostCheck[]> {
  try {
    return await check();
  } catch (error) {
    return [failed(name, errorChain(error), hintOf(error) ?? "See the error.")];
  }
}

function hintOf(error: unknown): string | undefined {
  return error instanceof StorageError ? error.hint : undefined;
}
