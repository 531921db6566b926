import { quoteArgument } from "@zfsilo/command";
import { runTool, type ToolResult } from "./run-tool.ts";

/** How to log in to a machine. Its host key is in the known-hosts file: clients check it. */
export interface SshAddress {
  readonly host: "127.0.0.1";
  readonly port: number;
  readonly user: "root";
  readonly privateKeyPath: string;
  readonly knownHostsPath: string;
}

/** One line of known_hosts(5) for a server on a port of its own. */
export function knownHostsLine(port: number, hostKey: string): string {
  return `[127.0.0.1]:${port} ${hostKey}\n`;
}

/** Arguments of ssh(1) that take nothing from the person's own configuration. */
export function sshArguments(address: SshAddress, extra: readonly string[] = []): [string, ...string[]] {
  const options = [
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    `UserKnownHostsFile=${address.knownHostsPath}`,
    "LogLevel=ERROR",
    // Covers the banner too: the forwarded port accepts connections before the guest's sshd is there.
    "ConnectTimeout=10",
    "ServerAliveInterval=15",
  ];
  return [
    ...(["ssh", "-F", "none"] as const),
    ...options.flatMap((option) => ["-o", option]),
    ...["-i", address.privateKeyPath, "-p", String(address.port)],
    ...extra,
    `${address.user}@${address.host}`,
  ];
}

/** Runs a program on a machine, as a plain ssh client does. ssh's own failures give code 255. */
export function execOverSsh(
  address: SshAddress,
  argv: readonly [string, ...string[]],
  signal: AbortSignal,
): Promise<ToolResult> {
  return runTool([...sshArguments(address), "--", argv.map(quoteArgument).join(" ")], { signal });
}
