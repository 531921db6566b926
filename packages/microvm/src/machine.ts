import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { StorageError, within } from "@zfsilo/lib";
import type { ProcessId } from "./process-id.ts";
import { savedStateName, storageNetdev, vmFiles, type VmPlan } from "./qemu-command.ts";
import { qmpCommand } from "./qmp.ts";
import { roles, type RoleName } from "./roles.ts";
import type { ToolResult } from "./run-tool.ts";
import { execOverSsh, type SshAddress } from "./ssh.ts";
import { startVm, stopVm, type Lifetime } from "./vm.ts";

export interface ExecOptions {
  readonly signal?: AbortSignal;
  /** Default 120,000: emulation is slow. */
  readonly timeoutMs?: number;
}

/** One of the two machines of a running pair. */
export interface Machine {
  readonly name: RoleName;
  readonly ssh: SshAddress;
  /** On the network that only the two machines share. */
  readonly storageAddress: string;
  /** Power cut: everything in the guest's memory is gone, what its disks were told is there. Then it boots. */
  reset(options?: { readonly wait?: boolean }): Promise<void>;
  /** Back to the saved state, disks and memory, in a new QEMU: every connection to the old one breaks. */
  restore(): Promise<void>;
  /** Plugs the storage network in or out. */
  setLink(up: boolean): Promise<void>;
  /** Gives the running guest one more disk, /dev/disk/by-id/virtio-SERIAL, to read only. A reset keeps it, `restore` does not. */
  plugDisk(file: string, serial: string): Promise<void>;
  /** Runs a program in the guest as root. */
  exec(argv: readonly [string, ...string[]], options?: ExecOptions): Promise<ToolResult>;
  /** Until ssh answers, set-up is done, and the clock is right. */
  waitReady(): Promise<void>;
}

export interface MachineSetting {
  readonly directory: string;
  readonly plan: Omit<VmPlan, "loadState">;
  readonly ssh: SshAddress;
  readonly lifetime: Lifetime;
  readonly process: ProcessId | null;
  /** Told of each new QEMU process, and of null when there is none. */
  readonly onProcess: (id: ProcessId | null) => Promise<void>;
  readonly signal: AbortSignal;
}

/** Emulated boots took 33 to 150 s. */
const bootLimitMs = 600_000;

export class QemuMachine implements Machine {
  readonly name: RoleName;
  readonly ssh: SshAddress;
  readonly storageAddress: string;
  readonly #setting: MachineSetting;
  #process: ProcessId | null;

  constructor(setting: MachineSetting) {
    this.name = setting.plan.role;
    this.ssh = setting.ssh;
    this.storageAddress = roles[this.name].storageAddress;
    this.#setting = setting;
    this.#process = setting.process;
  }

  async start(from: "disk" | "saved state"): Promise<void> {
    const { directory, plan, lifetime, signal, onProcess } = this.#setting;
    const saved = from === "saved state" ? { loadState: savedStateName } : {};
    this.#process = await startVm(directory, { ...plan, ...saved }, lifetime, signal);
    await onProcess(this.#process);
  }

  async stop(): Promise<void> {
    if (this.#process === null) return;
    await stopVm(this.#setting.directory, this.name, this.#process);
    this.#process = null;
    await this.#setting.onProcess(null);
  }

  get monitor(): string {
    return join(this.#setting.directory, vmFiles.monitor(this.name));
  }

  async reset(options: { readonly wait?: boolean } = {}): Promise<void> {
    await qmpCommand(this.monitor, "system_reset", {}, this.#monitorLimit());
    if (options.wait !== false) await this.waitReady();
  }

  async restore(): Promise<void> {
    await this.stop();
    await this.start("saved state");
    await this.waitReady();
  }

  async setLink(up: boolean): Promise<void> {
    await qmpCommand(this.monitor, "set_link", { name: storageNetdev, up }, this.#monitorLimit());
  }

  async plugDisk(file: string, serial: string): Promise<void> {
    // Behind the disks it booted from: after a reset the kernel names disks by their slots, and the root is /dev/vda.
    const pluggedSlot = "8";
    const node = { driver: "raw", "node-name": serial, "read-only": true, file: { driver: "file", filename: file } };
    await qmpCommand(this.monitor, "blockdev-add", node, this.#monitorLimit());
    await qmpCommand(this.monitor, "device_add", { driver: "virtio-blk-pci", id: serial, drive: serial, serial, addr: pluggedSlot }, this.#monitorLimit());
  }

  exec(argv: readonly [string, ...string[]], options: ExecOptions = {}): Promise<ToolResult> {
    const { signal, timeoutMs = 120_000 } = options;
    const signals = [this.#setting.signal, ...(signal === undefined ? [] : [signal])];
    return execOverSsh(this.ssh, argv, within(timeoutMs, ...signals));
  }

  async waitReady(): Promise<void> {
    const deadline = Date.now() + bootLimitMs;
    let last = "";
    while (Date.now() < deadline) {
      this.#setting.signal.throwIfAborted();
      // A restored guest's clock stands where it was saved; its real-time clock is QEMU's, and that is right.
      const probe = ["sh", "-c", "test -e /run/zfsilo/ready && exec hwclock --hctosys --utc"] as const;
      const answer = await this.exec(probe, { timeoutMs: 30_000 }).catch((error: unknown) => {
        this.#setting.signal.throwIfAborted();
        return { code: 255, stdout: "", stderr: String(error) };
      });
      if (answer.code === 0) return;
      last = answer.stderr.trim();
      await sleep(300, undefined, { signal: this.#setting.signal });
    }
    throw new StorageError("timeout", `wait for ${this.name} to be ready`, {
      cause: new Error(last),
      hint: `Its console is in ${join(this.#setting.directory, vmFiles.console(this.name))}.`,
    });
  }

  #monitorLimit(): AbortSignal {
    return within(60_000, this.#setting.signal);
  }
}

/** Runs a program that must succeed, and returns what it printed. */
export async function mustExec(machine: Machine, argv: readonly [string, ...string[]], options: ExecOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await machine.exec(argv, options);
  if (code === 0) return stdout;
  throw new StorageError("internal", `${argv.join(" ").slice(0, 500)} on ${machine.name}: exit ${code}`, { cause: new Error(stderr.trim()) });
}
