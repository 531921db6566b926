import { copyFile, constants, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { StorageError } from "@zfsilo/lib";
import { cacheDirectory, cachedDirectory } from "./cache.ts";
import { chooseAcceleration, guestCpus, qemuVersion } from "./acceleration.ts";
import { ensureImage, type BuildOptions, type Image } from "./image.ts";
import type { MachinePlan } from "./instance.ts";
import { QemuMachine } from "./machine.ts";
import { freePorts } from "./network.ts";
import { savedStateKey, savedStateName, vmFiles } from "./qemu-command.ts";
import { humanCommand } from "./qmp.ts";
import { poolName, roleNames, roles, type RoleName } from "./roles.ts";
import { mustRun } from "./run-tool.ts";
import { knownHostsLine } from "./ssh.ts";

/** Two machines saved just after they became ready, and all that a copy of them needs to run. */
export interface SavedPair {
  readonly directory: string;
  readonly image: Image;
  readonly plan: MachinePlan;
}

/** Boots both machines once, makes the pool, and saves them; later calls find the result in the cache. */
export async function ensureSavedPair(options: BuildOptions): Promise<SavedPair> {
  const image = await ensureImage(options);
  const version = await qemuVersion(options.signal);
  const acceleration = await chooseAcceleration(image, version, options);
  const plan = { acceleration, cpus: guestCpus(), kernel: image.kernel, initrd: image.initrd };
  // Under KVM the guest has this machine's processor, and its state does not load on another.
  const machine = acceleration === "kvm" ? `${version} on ${cpus()[0]?.model ?? ""}` : version;
  const directory = join(cacheDirectory(), savedStateKey(image.key, machine, plan));
  await cachedDirectory(directory, (unfinished) => bootAndSave(unfinished, image, plan, options), options);
  return { directory, image, plan };
}

/** The disks hold the saved memory too (internal qcow2 snapshot); they lean on the base image, which is not copied. */
export async function copyDisks(from: string, to: string): Promise<void> {
  for (const file of roleNames.flatMap(diskFiles)) {
    await copyFile(join(from, file), join(to, file), constants.COPYFILE_FICLONE);
  }
}

export async function writeKnownHosts(
  directory: string,
  image: Image,
  ports: Readonly<Record<RoleName, number>>,
): Promise<string> {
  const path = join(directory, "known_hosts");
  await writeFile(path, roleNames.map((role) => knownHostsLine(ports[role], image.hostKeys[role])).join(""), { mode: 0o600 });
  return path;
}

async function bootAndSave(
  directory: string,
  image: Image,
  plan: MachinePlan,
  options: BuildOptions,
): Promise<void> {
  await makeDisks(directory, image, options);
  const [give = 0, take = 0] = await freePorts([undefined, undefined]);
  const ports = { give, take };
  const knownHostsPath = await writeKnownHosts(directory, image, ports);
  const machines = roleNames.map(
    (role) =>
      new QemuMachine({
        directory,
        plan: { ...plan, role, sshPort: ports[role] },
        ssh: { host: "127.0.0.1", port: ports[role], user: "root", privateKeyPath: image.privateKeyPath, knownHostsPath },
        lifetime: "owned",
        process: null,
        onProcess: () => Promise.resolve(),
        signal: options.signal,
      }),
  );
  try {
    options.log(`booting give and take for the first time (${plan.acceleration}; up to three minutes under emulation)`);
    await Promise.all(machines.map((machine) => machine.start("disk")));
    await Promise.all(machines.map((machine) => machine.waitReady()));
    options.log(`making the pool ${poolName} and letting both machines come to rest`);
    await Promise.all(machines.map((machine) => prepare(machine)));
    options.log("saving both machines");
    for (const machine of machines) {
      await humanCommand(machine.monitor, `savevm ${savedStateName}`, options.signal);
    }
  } finally {
    await Promise.all(machines.map((machine) => machine.stop()));
  }
}

/** Neither machine holds a connection to the other when it is saved: a restored pair would not agree on it. */
async function prepare(machine: QemuMachine): Promise<void> {
  const steps: readonly (readonly [string, ...string[]])[] = [
    ...(machine.name === "give"
      ? ([
          ["zpool", "create", "-O", "mountpoint=none", poolName, "/dev/vdb"],
          ["zpool", "list", "-Hp", poolName],
        ] as const)
      : ([["iscsiadm", "--version"]] as const)),
    ["udevadm", "settle"],
    // Waits for the boot to end, so that no restored machine still has units to start.
    ["systemctl", "is-system-running", "--wait"],
    ["perl", "-e", "1"],
    ["sync"],
  ];
  for (const argv of steps) {
    const result = await machine.exec(argv, { timeoutMs: 300_000 });
    if (result.code !== 0) {
      throw new StorageError("internal", `prepare ${machine.name}: ${argv.join(" ")}`, {
        cause: new Error(`${result.stdout}${result.stderr}`.trim()),
      });
    }
  }
}

async function makeDisks(directory: string, image: Image, options: BuildOptions): Promise<void> {
  const make = (what: string, ...rest: readonly string[]): Promise<string> =>
    mustRun(what, ["qemu-img", "create", "-q", "-f", "qcow2", ...rest], options);
  for (const role of roleNames) {
    await make("make a root disk", "-b", image.rootDisk, "-F", "raw", join(directory, vmFiles.rootDisk(role)));
    const bytes = roles[role].dataDiskBytes;
    if (bytes !== undefined) await make("make a data disk", join(directory, vmFiles.dataDisk(role)), String(bytes));
  }
}

function diskFiles(role: RoleName): readonly string[] {
  return [vmFiles.rootDisk(role), ...(roles[role].dataDiskBytes === undefined ? [] : [vmFiles.dataDisk(role)])];
}
