import { execFile, spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { waitFor } from "@zfsilo/lib";
import type { SshTarget } from "../../src/index.ts";

const run = promisify(execFile);
const program = "/usr/sbin/sshd";
const signal = new AbortController().signal;

/** Missing, the suite is skipped on a developer's machine, and fails where everything has to be tested. */
export const sshdPresent = existsSync(program);

/** A real OpenSSH server of our own on 127.0.0.1, with keys made for it. */
export class TestSshd {
  readonly dir: string;
  readonly port: number;
  #process: ChildProcess | undefined;

  private constructor(dir: string, port: number) {
    this.dir = dir;
    this.port = port;
  }

  static async start(): Promise<TestSshd> {
    const dir = await mkdtemp(join(tmpdir(), "zfsilo-sshd-"));
    const server = new TestSshd(dir, await freePort());
    for (const key of ["client", "stranger", "host_ed25519", "other_host"]) await keygen(join(dir, key), "ed25519");
    await keygen(join(dir, "host_ecdsa"), "ecdsa");
    await keygen(join(dir, "host_rsa"), "rsa");
    await writeFile(join(dir, "authorized_keys"), await server.publicKey("client"));
    await server.know("host_ed25519");
    await mkdir(join(dir, "data"));
    // sshd run by root wants this directory, which the service's unit would have made.
    if (process.getuid?.() === 0) await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
    await server.#writeConfig();
    await server.up();
    return server;
  }

  get knownHostsFile(): string {
    return join(this.dir, "known_hosts");
  }

  target(changes: Partial<SshTarget> = {}): SshTarget {
    return {
      address: "127.0.0.1",
      port: this.port,
      user: userInfo().username,
      privateKeyFile: join(this.dir, "client"),
      knownHostsFile: this.knownHostsFile,
      ...changes,
    };
  }

  async publicKey(name: string): Promise<string> {
    return await readFile(join(this.dir, `${name}.pub`), "utf8");
  }

  /** Makes the known-hosts file name these keys and no others. */
  async know(...keys: string[]): Promise<void> {
    const lines = await Promise.all(keys.map(async (key) => `[127.0.0.1]:${this.port} ${await this.publicKey(key)}`));
    await writeFile(this.knownHostsFile, lines.join(""));
  }

  /** Replaces the names in the known-hosts file by their hashes, with OpenSSH's own tool. */
  async hashKnownHosts(): Promise<void> {
    await run("ssh-keygen", ["-q", "-H", "-f", this.knownHostsFile]);
  }

  async up(): Promise<void> {
    const child = spawn(program, ["-D", "-e", "-f", join(this.dir, "sshd_config")], { stdio: ["ignore", "ignore", "pipe"] });
    this.#process = child;
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
    try {
      await waitFor("sshd to listen", () => this.#answers(), signal);
    } catch (error) {
      throw new Error(log, { cause: error });
    }
  }

  /** Kills the server and every process that serves one of its connections, as a power cut would. */
  async down(): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined) return;
    this.#process = undefined;
    const serving = await descendants(child.pid);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    for (const pid of serving) kill(pid);
    await ended;
  }

  async stop(): Promise<void> {
    await this.down();
    await rm(this.dir, { recursive: true, force: true });
  }

  async #answers(): Promise<true | undefined> {
    return await new Promise((resolve) => {
      const socket = connect(this.port, "127.0.0.1");
      socket.once("data", () => { resolve(true); socket.destroy(); });
      socket.once("error", () => { resolve(undefined); });
    });
  }

  async #writeConfig(): Promise<void> {
    const lines = [
      `Port ${this.port}`,
      "ListenAddress 127.0.0.1",
      ...["host_ed25519", "host_ecdsa", "host_rsa"].map((key) => `HostKey ${join(this.dir, key)}`),
      `AuthorizedKeysFile ${join(this.dir, "authorized_keys")}`,
      "PidFile none",
      "UsePAM no",
      "StrictModes no",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "PermitRootLogin prohibit-password",
      "MaxSessions 10",
      // Keeps bash from reading the .bashrc of whoever runs the tests, which may take its time (bash(1), INVOCATION).
      "SetEnv SHLVL=2",
      "LogLevel ERROR",
    ];
    await writeFile(join(this.dir, "sshd_config"), `${lines.join("\n")}\n`);
  }
}

async function keygen(path: string, type: string): Promise<void> {
  await run("ssh-keygen", ["-q", "-t", type, "-N", "", "-C", "", "-f", path]);
}

async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => { resolve(typeof address === "object" && address !== null ? address.port : 0); });
    });
  });
}

/** The server's children that serve connections; not what they started, which a lost connection leaves running too. */
async function descendants(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const children = text.trim().split(" ").filter((field) => field !== "").map(Number);
  const sshds: number[] = [];
  for (const child of children) {
    const name = await readFile(`/proc/${child}/comm`, "utf8").catch(() => "");
    if (name.startsWith("sshd")) sshds.push(child, ...(await descendants(child)));
  }
  return sshds;
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended with its parent.
  }
}
