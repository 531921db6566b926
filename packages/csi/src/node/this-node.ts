import { startAgent, type RunningAgent } from "@zfsilo/agent";
import { HostRole } from "@zfsilo/api";
import { errorChain, Secret, StorageError, type Logger } from "@zfsilo/lib";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { CsiConfig } from "../config.ts";
import type { ControlPlane } from "../control-plane.ts";
import { idOf } from "../names.ts";

/** This machine, as the control plane knows it. */
export interface ThisNode {
  /** Id of its host. Waits for the agent to enrol, as long as the caller waits. */
  readonly id: (signal: AbortSignal) => Promise<string>;
  stop(): Promise<void>;
}

const maxPauseMs = 30_000;
/** The token is used at once, or never. */
const tokenLifetimeSeconds = 600;

/** With a node name the driver is the agent of its node; with a node id, whoever reaches that host is. */
export function startThisNode(config: CsiConfig, controlPlane: ControlPlane, log: Logger): ThisNode {
  const { mode, "node-id": nodeId, "node-name": nodeName } = config;
  if (mode === "controller" || nodeName === undefined) {
    return { id: () => Promise.resolve(nodeId ?? ""), stop: () => Promise.resolve() };
  }
  const stopping = new AbortController();
  const agent = startEmbedded({ ...config, nodeName }, controlPlane, log, stopping.signal);
  agent.catch(() => undefined);
  const host = agent.then((running) => running.host);
  host.catch(() => undefined);
  return {
    async id(signal) {
      return idOf(await orAborted(host, signal));
    },
    async stop() {
      stopping.abort(new Error("the driver is stopping"));
      const running = await agent.catch(() => undefined);
      await running?.stop();
    },
  };
}

async function startEmbedded(
  config: CsiConfig & { readonly nodeName: string },
  controlPlane: ControlPlane,
  log: Logger,
  signal: AbortSignal,
): Promise<RunningAgent> {
  const kind = config["agent-place"];
  const tokenFile = config["join-token-file"];
  return startAgent({
    controlPlane: config["control-plane"],
    credentialFile: config["agent-credential-file"],
    joinToken: tokenFile === undefined ? await ownJoinToken(controlPlane, config.nodeName, log, signal) : await tokenIn(tokenFile),
    nodeName: config.nodeName,
    allowedRoots: [config["agent-allowed-root"]],
    place: kind === "chroot" ? { kind, root: "/host" } : { kind },
    tls: { caFile: config["ca-file"], certFile: config["cert-file"], keyFile: config["key-file"] },
    log,
  });
}

/** One that is replaced counts at the next try. One that cannot be read is said at the start. */
async function tokenIn(file: string): Promise<() => Promise<Secret>> {
  await readToken(file);
  return () => readToken(file);
}

async function readToken(file: string): Promise<Secret> {
  try {
    return new Secret((await readFile(file, "utf8")).trim());
  } catch (error) {
    throw new StorageError("precondition", `read ${file} of --join-token-file`, { cause: error });
  }
}

/**
 * The API token that the driver holds anyway lets it make a join token for its own node alone. It is made at each start: an
 * agent whose host was deleted, or whose credential was lost, so comes back by itself. One that was revoked does not.
 */
async function ownJoinToken({ hosts }: ControlPlane, nodeName: string, log: Logger, signal: AbortSignal): Promise<Secret> {
  for (let pauseMs = 500; ; pauseMs = Math.min(pauseMs * 2, maxPauseMs)) {
    try {
      const { secret } = await hosts.createJoinToken(
        {
          hostTemplate: { roles: [HostRole.INITIATOR] },
          nodeNamePattern: nodeName,
          replaceOffline: true,
          lifetimeSeconds: tokenLifetimeSeconds,
          maxUses: 1,
        },
        { signal, timeoutMs: 15_000 },
      );
      return new Secret(secret);
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ err: error }, `this node waits for the control plane to let its agent enrol: ${errorChain(error)}`);
    }
    await sleep(pauseMs, undefined, { signal });
  }
}

async function orAborted<T>(value: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => {
      reject(new StorageError("unavailable", "this node's agent has not enrolled with the control plane yet", { hint: "The driver's log says why." }));
    };
    signal.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([value, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
