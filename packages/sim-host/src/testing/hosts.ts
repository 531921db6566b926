import {
  FileOperationError,
  type Argv,
  type Executor,
  type FileOperation,
  type FileResult,
  type RunResult,
} from "@zfsilo/command";
import { SimWorld, type SimWorldOptions } from "../world.ts";

/** give serves volumes, take and tap use them: the three machines of these tests. */
export const iqn = "iqn.2026-01.net.example:0123456789abcdef";
export const handle = "0123456789abcdef";
export const takeName = "iqn.2026-01.net.example:take";
export const tapName = "iqn.2026-01.net.example:tap";
export const portal = "10.9.0.2:3260";
export const MiB = 1024n * 1024n;
export const GiB = 1024n * MiB;

export class Host {
  readonly executor: Executor;

  constructor(executor: Executor) {
    this.executor = executor;
  }

  run(...argv: Argv): Promise<RunResult> {
    return this.executor.run(argv, { signal: new AbortController().signal });
  }

  /** Standard output of a command that must succeed. */
  async ok(...argv: Argv): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(...argv);
    if (exitCode !== 0) throw new Error(`${argv.join(" ")}: exit ${exitCode}: ${stderr}`);
    return stdout;
  }

  files(...operations: FileOperation[]): Promise<readonly FileResult[]> {
    return this.executor.files(operations, { signal: new AbortController().signal });
  }

  async read(path: string): Promise<string> {
    return (await this.files({ op: "read", path }))[0]?.text ?? "";
  }

  async put(path: string, content: string): Promise<void> {
    await this.files({ op: "write", path, content, create: { mode: 0o600 } });
  }

  async mkdir(path: string): Promise<void> {
    await this.files({ op: "mkdir", path });
  }

  /** The errno the last of some operations fails with, undefined when it does not fail. */
  async errno(...operations: FileOperation[]): Promise<string | undefined> {
    try {
      await this.files(...operations);
      return undefined;
    } catch (error) {
      if (error instanceof FileOperationError && error.index === operations.length - 1) return error.errno;
      throw error;
    }
  }
}

export interface Hosts {
  readonly world: SimWorld;
  readonly give: Host;
  readonly take: Host;
  readonly tap: Host;
}

export async function openHosts(options: SimWorldOptions = {}, poolBytes = 4n * GiB): Promise<Hosts> {
  const world = await SimWorld.open(options);
  world.addMachine({ name: "give", pools: [{ name: "tank", sizeBytes: poolBytes }], addresses: ["10.9.0.2", "fd00::2"] });
  world.addMachine({ name: "take", addresses: ["10.9.0.3"], initiatorName: takeName });
  world.addMachine({ name: "tap", addresses: ["10.9.0.4"], initiatorName: tapName });
  const host = (name: string): Host => new Host(world.executor(name));
  return { world, give: host("give"), take: host("take"), tap: host("tap") };
}

export interface Chap {
  readonly user: string;
  readonly password: string;
  readonly targetUser?: string;
  readonly targetPassword?: string;
}

const target = "/sys/kernel/config/target";
export const backstorePath = (name = handle): string => `${target}/core/iblock_0/${name}`;
export const groupPath = (target_ = iqn): string => `${target}/iscsi/${target_}/tpgt_1`;

const write = (path: string, content: string): FileOperation => ({ op: "write", path, content });
const mkdir = (path: string, ...tolerate: string[]): FileOperation => ({ op: "mkdir", path, tolerate });

/** The configfs calls of a publish, in the order that works on a real kernel. */
export function exportOperations(dataset: string, name = handle, target_ = iqn, authentication = "0"): FileOperation[] {
  const backstore = backstorePath(name);
  const group = groupPath(target_);
  return [
    mkdir(`${target}/iscsi`, "EEXIST"),
    mkdir(`${target}/core/iblock_0`, "EEXIST"),
    mkdir(backstore),
    write(`${backstore}/control`, `udev_path=/dev/zvol/${dataset}`),
    write(`${backstore}/udev_path`, `/dev/zvol/${dataset}`),
    write(`${backstore}/wwn/vpd_unit_serial`, name),
    write(`${backstore}/enable`, "1"),
    write(`${backstore}/attrib/emulate_tpu`, "1"),
    mkdir(`${target}/iscsi/${target_}`),
    mkdir(group),
    mkdir(`${group}/lun/lun_0`),
    { op: "symlink", path: `${group}/lun/lun_0/${name}`, target: backstore },
    write(`${group}/attrib/generate_node_acls`, "0"),
    write(`${group}/attrib/demo_mode_write_protect`, "0"),
    write(`${group}/attrib/authentication`, authentication),
    mkdir(`${group}/np/${portal}`),
    write(`${group}/enable`, "1"),
  ];
}

export function aclOperations(initiator: string, chap?: Chap, target_ = iqn): FileOperation[] {
  const acl = `${groupPath(target_)}/acls/${initiator}`;
  const secrets =
    chap === undefined
      ? []
      : [
          write(`${acl}/auth/userid`, chap.user),
          write(`${acl}/auth/password`, chap.password),
          write(`${acl}/auth/userid_mutual`, chap.targetUser ?? "NULL"),
          write(`${acl}/auth/password_mutual`, chap.targetPassword ?? "NULL"),
        ];
  return [
    mkdir(acl),
    ...secrets,
    mkdir(`${acl}/lun_0`),
    { op: "symlink", path: `${acl}/lun_0/lun`, target: `${groupPath(target_)}/lun/lun_0` },
  ];
}

export function fenceOperations(initiator: string): FileOperation[] {
  const acl = `${groupPath()}/acls/${initiator}`;
  return [
    write(`${groupPath()}/enable`, "0"),
    { op: "unlink", path: `${acl}/lun_0/lun` },
    { op: "rmdir", path: `${acl}/lun_0` },
    { op: "rmdir", path: acl },
    write(`${groupPath()}/enable`, "1"),
  ];
}

export function removeOperations(name = handle, target_ = iqn): FileOperation[] {
  const group = groupPath(target_);
  return [
    { op: "unlink", path: `${group}/lun/lun_0/${name}` },
    { op: "rmdir", path: `${group}/lun/lun_0` },
    { op: "rmdir", path: `${group}/np/${portal}` },
    { op: "rmdir", path: group },
    { op: "rmdir", path: `${target}/iscsi/${target_}` },
    { op: "rmdir", path: backstorePath(name) },
  ];
}

/** A zvol made and exported to some initiators. */
export async function publish(give: Host, initiators: readonly string[] = [takeName], chap?: Chap): Promise<void> {
  await give.ok("zfs", "create", "-V", String(64n * MiB), "tank/z1");
  await give.ok("modprobe", "target_core_mod");
  await give.ok("modprobe", "iscsi_target_mod");
  const authentication = chap === undefined ? "0" : "1";
  await give.files(...exportOperations("tank/z1", handle, iqn, authentication));
  for (const initiator of initiators) await give.files(...aclOperations(initiator, chap));
}

/** Writes a node record as open-iscsi keeps it. */
export async function putRecord(host: Host, chap?: Chap, more: Readonly<Record<string, string>> = {}, target_ = iqn): Promise<void> {
  const auth =
    chap === undefined
      ? { "node.session.auth.authmethod": "None" }
      : {
          "node.session.auth.authmethod": "CHAP",
          "node.session.auth.username": chap.user,
          "node.session.auth.password": chap.password,
          ...(chap.targetUser === undefined ? {} : { "node.session.auth.username_in": chap.targetUser }),
          ...(chap.targetPassword === undefined ? {} : { "node.session.auth.password_in": chap.targetPassword }),
        };
  const values = { "node.name": target_, "node.tpgt": "1", "iface.iscsi_ifacename": "default", ...auth, ...more };
  const lines = Object.entries(values).map(([key, value]) => `${key} = ${value}\n`);
  const directory = `/etc/iscsi/nodes/${target_}`;
  await host.files(
    mkdir(directory, "EEXIST"),
    mkdir(`${directory}/10.9.0.2,3260,1`, "EEXIST"),
    {
      op: "write",
      path: `${directory}/10.9.0.2,3260,1/${values["iface.iscsi_ifacename"]}`,
      content: `# BEGIN RECORD 2.1.8\n${lines.join("")}# END RECORD\n`,
      create: { mode: 0o600 },
      secret: true,
    },
  );
}

export const login = (host: Host, target_ = iqn): Promise<RunResult> =>
  host.run("iscsiadm", "-m", "node", "-T", target_, "-p", portal, "-I", "default", "--login");

export const logout = (host: Host): Promise<RunResult> =>
  host.run("iscsiadm", "-m", "node", "-T", iqn, "-I", "default", "--logout");

/** The disk a machine sees, /dev/sda in a fresh world, behind a session to give. */
export async function connect(give: Host, take: Host): Promise<void> {
  await publish(give);
  await putRecord(take);
  const { exitCode, stderr } = await login(take);
  if (exitCode !== 0) throw new Error(`login: ${stderr}`);
}
