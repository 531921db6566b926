import { LocalExecutor, RecordingExecutor, SshConnectError, SshExecutor, type Executor, type RecordedCall, type SshConnector, type SshTarget } from "@zfsilo/command";
import { assertNever, type HostId } from "@zfsilo/lib";
import type { SimWorld } from "@zfsilo/sim-host";
import { GivenUpExecutor } from "../operation/given-up.ts";
import { recordCommand } from "../operation/trace.ts";
import type { HostRecord } from "../store/model.ts";
import { AgentExecutor } from "./agent/agent-executor.ts";
import type { AgentHub } from "./agent/agent-hub.ts";

/** How a command ended: with exit 0, with another exit, or with none. */
export type CommandOutcome = "ok" | "exit" | "timeout" | "unreachable" | "failed";

/** Told about everything that ran on a host, for metrics. `outcome` is a closed set. */
export interface CommandObserver {
  hostCommand(tool: string, outcome: CommandOutcome, seconds: number): void;
}

/** Told whether a host answered, each time something was run there. */
export interface AnswerObserver {
  seen(host: HostId, answered: boolean): void;
}

export interface ConnectOptions {
  readonly world: SimWorld;
  /** SSH_AUTH_SOCK, for connections without a key file. */
  readonly sshAgentSocket: string | undefined;
  readonly observer: CommandObserver;
  /** Where agents are found. */
  readonly agents: Pick<AgentHub, "find">;
  readonly answers?: AnswerObserver;
}

/** Size of each pool of a simulated target. Nothing is allocated for it. */
const simulatedPoolBytes = 64n << 30n;

/**
 * The executor for a host's connection; everything it runs is attributed to the running step and counted, and ends when that gives the
 * host up. Never connects, and never throws.
 */
export function connectHost(host: HostRecord, options: ConnectOptions): Executor {
  const recording = new RecordingExecutor(executorFor(host, options), {
    maxCalls: 0,
    onCall: (call) => {
      const outcome = observeCall(call, options.observer);
      // A command that ran out of its time says little of the host; no connection says all.
      if (outcome !== "timeout" && outcome !== "failed") options.answers?.seen(host.id, outcome !== "unreachable");
    },
  });
  return new GivenUpExecutor(host.id, recording);
}

function executorFor(host: HostRecord, { world, sshAgentSocket, agents }: ConnectOptions): Executor {
  const { connection, id } = host;
  switch (connection.kind) {
    case "local":
      return new LocalExecutor(id);
    case "ssh":
      return new SshExecutor(id, sshTarget(connection, sshAgentSocket));
    case "agent":
      return new AgentExecutor(id, agents);
    case "simulated":
      simulate(host, world);
      return world.executor(id);
    default:
      return assertNever(connection);
  }
}

/** A simulated machine has what its record names: the pools, the addresses, the initiator name. It loses none of them. */
export function simulate({ id, pools, portals, initiatorIqn }: HostRecord, world: SimWorld): void {
  world.addMachine({
    name: id,
    pools: pools.map(({ name }) => ({ name, sizeBytes: simulatedPoolBytes })),
    addresses: portals.map(({ address }) => address),
    initiatorName: initiatorIqn === "" ? `iqn.2026-01.io.zfsilo.sim:${id.replaceAll("_", "-")}` : initiatorIqn,
  });
}

/** Without anything to log in with each command fails, and nothing before: a host that cannot be used stops no other. */
function sshTarget(
  { address, port, user, knownHostsFile, privateKeyFile }: Extract<HostRecord["connection"], { kind: "ssh" }>,
  agentSocket = "",
): SshTarget | SshConnector {
  if (privateKeyFile !== "") return { address, port, user, knownHostsFile, privateKeyFile };
  if (agentSocket !== "") return { address, port, user, knownHostsFile, agentSocket };
  return () =>
    Promise.reject(
      new SshConnectError("it has no private key file and there is no ssh agent", {
        kind: "credentials",
        hint: "Set ssh.private_key_file of the host, or start the control plane with SSH_AUTH_SOCK.",
      }),
    );
}

function observeCall(call: RecordedCall, observer: CommandObserver): CommandOutcome {
  const { argv, operations = [], host, durationMs, exitCode, error, stderr } = call;
  const command = argv === undefined ? operations.map(({ op, path }) => `${op} ${path}`).join("\n") : argv.join(" ");
  const failed = error !== undefined || (exitCode ?? 0) !== 0;
  recordCommand({
    host: `hosts/${host}`,
    command,
    exitCode: exitCode ?? (error === undefined ? 0 : -1),
    error: error?.message ?? (failed ? (stderr ?? "") : ""),
    durationMs,
  });
  const outcome = outcomeOf(call);
  observer.hostCommand(argv === undefined ? "files" : toolOf(argv[0]), outcome, durationMs / 1000);
  return outcome;
}

function outcomeOf({ exitCode, error }: RecordedCall): CommandOutcome {
  if (error === undefined) return (exitCode ?? 0) === 0 ? "ok" : "exit";
  if (error.reason === "timeout") return "timeout";
  return error.reason === "unavailable" ? "unreachable" : "failed";
}

/** Programs that may be named in a metric; anything else is `other`, so that the label set stays closed. */
const tools: ReadonlySet<string> = new Set([
  ...["zfs", "zpool", "iscsiadm", "mount", "umount", "blkid", "cmp", "udevadm", "modprobe", "stat"],
  ...["mkfs.ext4", "mkfs.xfs", "e2fsck", "xfs_repair", "resize2fs", "xfs_growfs", "dumpe2fs", "xfs_info"],
]);

function toolOf(program: string): string {
  return tools.has(program) ? program : "other";
}
