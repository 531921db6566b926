import { mustExec, type Machine } from "./machine.ts";
import { openTunnel, type Tunnel, type TunnelOptions } from "./tunnel.ts";

export interface GuestProgramOptions {
  /** Of its systemd unit. */
  readonly name: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Files that it reads, by path: owned by root, 0600. */
  readonly files?: Readonly<Record<string, string>>;
  /** How it reaches the control plane, and how it is reached. Without one it has only its machine. */
  readonly tunnel?: TunnelOptions;
}

/** A program of zfsilo as a service of a machine: started at boot, and anew whenever it ends. */
export class GuestProgram {
  readonly machine: Machine;
  readonly #options: GuestProgramOptions;
  #tunnel: Tunnel | undefined;

  constructor(machine: Machine, options: GuestProgramOptions) {
    this.machine = machine;
    this.#options = options;
  }

  async start(): Promise<void> {
    const { name, environment = {}, files = {} } = this.#options;
    await this.#open();
    const settings = Object.entries(environment).map(([key, value]) => `${key}=${value}\n`);
    const wanted = { ...files, [`/etc/${name}.env`]: settings.join(""), [`/etc/systemd/system/${name}.service`]: this.#unit() };
    const script = Object.entries(wanted).map(([path, content]) => `cat > '${path}' <<'end of file'\n${content}\nend of file`);
    await mustExec(this.machine, ["sh", "-ec", ["umask 077", ...script, "systemctl daemon-reload", `systemctl enable -q --now ${name}`].join("\n")]);
  }

  /** Of the process that runs it now. */
  async pid(): Promise<string> {
    return (await mustExec(this.machine, ["systemctl", "show", "-P", "MainPID", this.#options.name])).trim();
  }

  /** Ends it, and takes it from the machine. */
  async remove(): Promise<void> {
    const { name } = this.#options;
    await mustExec(this.machine, ["sh", "-ec", `systemctl disable -q --now ${name}; rm /etc/systemd/system/${name}.service`]);
    await this.cut();
  }

  /** Breaks the connections it has, and gives it no others. */
  async cut(): Promise<void> {
    await this.#tunnel?.cut();
    this.#tunnel = undefined;
  }

  /** After `cut`, or after the machine lost its power and is back. */
  async rejoin(): Promise<void> {
    await this.cut();
    await this.#open();
  }

  async #open(): Promise<void> {
    const { tunnel } = this.#options;
    if (tunnel !== undefined) this.#tunnel = await openTunnel(this.machine.ssh, tunnel);
  }

  #unit(): string {
    const { name, command } = this.#options;
    return [
      "[Unit]",
      "After=zfsilo-setup.service iscsid.service",
      "RequiresMountsFor=/opt/zfsilo",
      "StartLimitIntervalSec=0",
      "[Service]",
      `EnvironmentFile=/etc/${name}.env`,
      `ExecStart=${command.join(" ")}`,
      "Restart=always",
      "RestartSec=1",
      "[Install]",
      "WantedBy=multi-user.target",
    ].join("\n");
  }
}
