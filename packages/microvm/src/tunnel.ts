import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { StorageError } from "@zfsilo/lib";
import { sshArguments, type SshAddress } from "./ssh.ts";

export interface TunnelOptions {
  /** Ports of 127.0.0.1 in the guest that lead to the same ports of this machine's. */
  readonly ports?: readonly number[];
  /** Unix sockets in the guest that lead to ports of 127.0.0.1 here. */
  readonly guestSockets?: Readonly<Record<string, number>>;
  /** Unix sockets here that lead to sockets in the guest. */
  readonly sockets?: Readonly<Record<string, string>>;
}

/** A connection that carries others, as a network between a guest and this machine would; QEMU gives it none. */
export interface Tunnel extends AsyncDisposable {
  /** Breaks everything that it carries, at once. */
  cut(): Promise<void>;
}

const openLimitMs = 60_000;

/** Resolves when it carries. It ends with this process. */
export async function openTunnel(address: SshAddress, { ports = [], guestSockets = {}, sockets = {} }: TunnelOptions): Promise<Tunnel> {
  const forwards = [
    ...ports.flatMap((port) => ["-R", `127.0.0.1:${port}:127.0.0.1:${port}`]),
    ...Object.entries(guestSockets).flatMap(([there, port]) => ["-R", `${there}:127.0.0.1:${port}`]),
    ...Object.entries(sockets).flatMap(([here, there]) => ["-L", `${here}:${there}`]),
  ];
  const options = ["-o", "ExitOnForwardFailure=yes", "-o", "StreamLocalBindUnlink=yes"];
  // A command, and not -N: it runs once the forwards are there, and it ends with the connection, for it reads from it.
  const [program, ...rest] = sshArguments(address, [...options, ...forwards]);
  const child = spawn("setpriv", ["--pdeathsig", "KILL", program, ...rest, "--", "echo open; exec cat"], { stdio: ["pipe", "pipe", "pipe"] });
  const ended = once(child, "close");
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint = (complaint + text).slice(-1000)));
  const cut = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  };
  const opened = once(createInterface(child.stdout), "line", { signal: AbortSignal.timeout(openLimitMs) });
  const failed = ended.then(() => {
    throw new Error(complaint.trim());
  });
  try {
    await Promise.race([opened, failed]);
  } catch (cause) {
    await cut();
    throw new StorageError("unavailable", "open a tunnel to a machine", { cause });
  }
  failed.catch(() => undefined);
  return { cut, [Symbol.asyncDispose]: cut };
}
