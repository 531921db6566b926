import { createClient, type Client } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { AgentService } from "@zfsilo/api";
import type { Executor } from "@zfsilo/command";
import { StorageError, type Logger, type Secret } from "@zfsilo/lib";
import { randomUUID } from "node:crypto";
import type { SecureClientSessionOptions } from "node:http2";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { explain, isRefusedIdentity } from "./connect-error.ts";
import { CredentialFile, hashOf, newCredential, type Identity } from "./credential-file.ts";
import { executorAt, type Place } from "./place.ts";
import { GuardedExecutor } from "./policy/guarded-executor.ts";
import { serve } from "./serving.ts";
import { readTls, type TlsFiles } from "./tls-files.ts";

export const agentVersion = "0.1.0";

/** Paths below which a host lets volumes be mounted when nobody says otherwise. */
export const defaultAllowedRoots = ["/var/lib/kubelet", "/mnt", "/srv", "/media"] as const;

export interface AgentOptions {
  /** `https://HOST:PORT`, or `http://` where the control plane allows plain text. */
  readonly controlPlane: string;
  /** Where the agent keeps who it is. */
  readonly credentialFile: string;
  /** Needed until the agent has enrolled. A function is asked for each try, so that a token that was replaced counts. */
  readonly joinToken?: Secret | (() => Promise<Secret | undefined>) | undefined;
  /** What the machine calls itself; in Kubernetes the node's name. Default: the host name. */
  readonly nodeName?: string | undefined;
  readonly allowedRoots?: readonly string[] | undefined;
  /** Default: the agent runs on the host itself. */
  readonly place?: Place | undefined;
  /** Read again for each connection. */
  readonly tls?: TlsFiles | undefined;
  readonly log: Logger;
  /** Acts in place of this machine, for tests. The policy stands before it all the same. */
  readonly executor?: Executor | undefined;
  /** Default 500 ms, doubling up to 30 s. */
  readonly firstPauseMs?: number | undefined;
}

export interface RunningAgent {
  /** hosts/{host}, once the agent has enrolled. Rejects when it is stopped before. */
  readonly host: Promise<string>;
  /** Whether the control plane is reached at this moment. */
  readonly connected: boolean;
  /** Ends what runs, and leaves. */
  stop(): Promise<void>;
}

const maxPauseMs = 30_000;
/** Requests are one message each. Far above what the control plane sends, and far below what would hurt. */
const maxMessageBytes = 32 << 20;

/** Enrols when needed, and serves the control plane until it is stopped: whatever fails is tried again, ever more slowly. */
export function startAgent(options: AgentOptions): RunningAgent {
  const agent = new Agent(options);
  const ended = agent.run();
  return {
    host: agent.host,
    get connected() {
      return agent.connected;
    },
    async stop() {
      agent.stop();
      await ended;
    },
  };
}

class Agent {
  readonly host: Promise<string>;
  connected = false;
  readonly #options: AgentOptions;
  readonly #file: CredentialFile;
  readonly #instance = randomUUID();
  readonly #stopped = new AbortController();
  /** Asks once to be taken in again, when the credential in the file was refused. It is written when it was taken. */
  #again: Identity | undefined;
  #foundHost: (host: string) => void = () => undefined;
  #lostHost: (error: Error) => void = () => undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#file = new CredentialFile(options.credentialFile);
    this.host = new Promise((resolve, reject) => {
      this.#foundHost = resolve;
      this.#lostHost = reject;
    });
    this.host.catch(() => undefined);
  }

  stop(): void {
    this.#stopped.abort(new Error("the agent is stopping"));
  }

  async run(): Promise<void> {
    const { firstPauseMs = 500 } = this.#options;
    const { signal } = this.#stopped;
    let pauseMs = firstPauseMs;
    while (!signal.aborted) {
      await this.#connectOnce(() => {
        pauseMs = firstPauseMs;
      });
      // Jitter: a thousand agents that lost one control plane must not come back in the same instant.
      await sleep(pauseMs * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, maxPauseMs);
    }
    this.#lostHost(new Error("the agent was stopped before it had enrolled"));
  }

  async #connectOnce(onWelcome: () => void): Promise<void> {
    const { log } = this.#options;
    try {
      await this.#connection((client) => this.#serve(client, onWelcome));
      log.warn("the control plane ended the stream");
    } catch (error) {
      if (this.#stopped.signal.aborted) return;
      const err = explain(error);
      if (this.connected) log.warn({ err }, "the stream to the control plane was lost");
      else log.error({ err }, "cannot serve the control plane");
    } finally {
      this.connected = false;
    }
  }

  async #connection(use: (client: Client<typeof AgentService>) => Promise<void>): Promise<void> {
    const baseUrl = this.#options.controlPlane;
    const tls: SecureClientSessionOptions = await readTls(this.#options.tls);
    const sessionManager = new Http2SessionManager(baseUrl, {}, tls);
    const transport = createConnectTransport({ baseUrl, httpVersion: "2", sessionManager, acceptCompression: [], readMaxBytes: maxMessageBytes });
    try {
      await use(createClient(AgentService, transport));
    } finally {
      sessionManager.abort();
    }
  }

  async #serve(client: Client<typeof AgentService>, onWelcome: () => void): Promise<void> {
    const identity = await this.#enrolled(client);
    const { log, place = { kind: "host" }, allowedRoots = defaultAllowedRoots } = this.#options;
    const hostId = identity.host.slice("hosts/".length);
    const inner = this.#options.executor ?? executorAt(place, hostId);
    const executor = new GuardedExecutor(inner, { allowedRoots, log });
    const shown = identity.next ?? identity.credential;
    let kept: Identity = identity;
    try {
      await serve(
        {
          client,
          credential: shown.reveal(),
          hello: { version: agentVersion, host: identity.host, instance: this.#instance, nodeName: this.#nodeName },
          executor,
          log,
          onWelcome: () => {
            this.connected = true;
            log.info({ host: identity.host }, "serving the control plane");
            onWelcome();
          },
          rotation: {
            offer: async () => {
              kept = { ...kept, credential: shown, next: newCredential() };
              await this.#file.write(kept);
              return hashOf(kept.next ?? shown);
            },
            accepted: async () => {
              kept = { ...kept, credential: kept.next ?? kept.credential, next: undefined };
              await this.#file.write(kept);
              log.info("the credential was changed");
            },
          },
        },
        this.#stopped.signal,
      );
    } catch (error) {
      // The control plane never heard of the newer one: the rotation ended before it was accepted.
      if (kept === identity && isRefusedIdentity(error)) await this.#refused(identity);
      throw error;
    }
  }

  /** A host that was deleted, or a control plane that was set up anew: a join token may help. A revoked agent it does not. */
  async #refused(identity: Identity): Promise<void> {
    if (identity.next !== undefined) await this.#file.write({ ...identity, next: undefined });
    else if (this.#options.joinToken !== undefined) this.#again = { host: "", credential: newCredential(), next: undefined };
  }

  async #enrolled(client: Client<typeof AgentService>): Promise<Identity> {
    // Written before it is sent: an answer that is lost does not cost the token, since the same credential may ask again.
    const again = this.#again;
    this.#again = undefined;
    const identity = again ?? (await this.#file.read()) ?? (await this.#newIdentity());
    if (identity.host !== "") {
      this.#foundHost(identity.host);
      return identity;
    }
    const { joinToken: given, allowedRoots = defaultAllowedRoots, log } = this.#options;
    const joinToken = typeof given === "function" ? await given() : given;
    if (joinToken === undefined) {
      throw new StorageError("precondition", "enrol with the control plane: there is neither a credential nor a join token", {
        hint: "Make a join token with HostService.CreateJoinToken, and give it to the agent.",
      });
    }
    const request = { joinToken: joinToken.reveal(), credentialSha256: hashOf(identity.credential), nodeName: this.#nodeName, allowedRoots: [...allowedRoots] };
    const { host } = await client.enrol(request, { signal: this.#stopped.signal, timeoutMs: 15_000 });
    const enrolled = { ...identity, host };
    await this.#file.write(enrolled);
    log.info({ host }, "enrolled");
    this.#foundHost(host);
    return enrolled;
  }

  async #newIdentity(): Promise<Identity> {
    const identity = { host: "", credential: newCredential(), next: undefined };
    await this.#file.write(identity);
    return identity;
  }

  get #nodeName(): string {
    return this.#options.nodeName ?? hostname();
  }
}
