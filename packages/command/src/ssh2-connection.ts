import { readFile } from "node:fs/promises";
import type { Client, ClientChannel, ConnectConfig, ServerHostKeyAlgorithm } from "ssh2";
import { fingerprint, hostPattern, keyType, knownKeysFor, type KnownKeys } from "./known-hosts.ts";
import {
  ChannelRefusedError,
  SshConnectError,
  type SshChannel,
  type SshChannelHandlers,
  type SshConnection,
} from "./ssh-connection.ts";

export interface SshTarget {
  /** Name or IP address, as it stands in the known-hosts file. */
  readonly address: string;
  /** Default 22. */
  readonly port?: number;
  readonly user: string;
  /** A private key without passphrase, in a file that only we can read. */
  readonly privateKeyFile?: string;
  /** The socket of an ssh agent, tried after the key file. */
  readonly agentSocket?: string;
  /** Its keys are the only ones accepted. Read at every connect, so that it can be mended while we run. */
  readonly knownHostsFile: string;
  /** From the first packet to the end of authentication, default 15,000. */
  readonly connectTimeoutMs?: number;
  /** How often a silent connection is probed, default 10,000. It counts as lost after three probes without an answer. */
  readonly keepaliveMs?: number;
}

const defaultConnectTimeoutMs = 15_000;
const defaultKeepaliveMs = 10_000;
const keepaliveMisses = 3;

/** Signature algorithms to ask for, by the key type a known-hosts file names. No SHA-1 for RSA. */
const algorithmsByType: Readonly<Record<string, readonly ServerHostKeyAlgorithm[]>> = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
};

/** Connects and authenticates, or throws SshConnectError. */
export async function connectSsh(target: SshTarget): Promise<SshConnection> {
  const port = target.port ?? 22;
  const known = knownKeysFor(await readText(target.knownHostsFile, "the known-hosts file"), target.address, port);
  const privateKey =
    target.privateKeyFile === undefined ? undefined : await readText(target.privateKeyFile, "the private key");
  let refusal: SshConnectError | undefined;
  const config: ConnectConfig = {
    host: target.address,
    port,
    username: target.user,
    readyTimeout: target.connectTimeoutMs ?? defaultConnectTimeoutMs,
    keepaliveInterval: target.keepaliveMs ?? defaultKeepaliveMs,
    keepaliveCountMax: keepaliveMisses,
    ...(privateKey === undefined ? {} : { privateKey }),
    ...(target.agentSocket === undefined ? {} : { agent: target.agentSocket }),
    ...hostKeyAlgorithms(known),
    hostVerifier: (key: Buffer) => {
      refusal = refuseKey(known, key, target, port);
      return refusal === undefined;
    },
  };
  // Loaded by the first connection: it takes 10 MB, and an agent never makes one.
  const ssh2 = await import("ssh2");
  const client = new ssh2.Client();
  try {
    await ready(client, config);
  } catch (error) {
    client.destroy();
    throw refusal ?? describeFailure(error, target, port);
  }
  // Requests are small and each is waited for: Nagle's algorithm would hold them back for an acknowledgement.
  client.setNoDelay(true);
  return new Ssh2Connection(client);
}

class Ssh2Connection implements SshConnection {
  readonly lost: Promise<Error>;
  readonly #client: Client;
  /**
   * Who has to hear of the loss: those who open a channel or hold one. A set they leave again, because what is chained to
   * the promise `lost` stays in memory for as long as the connection.
   */
  readonly #listeners = new Set<(error: Error) => void>();

  constructor(client: Client) {
    this.#client = client;
    this.lost = new Promise((resolve) => {
      let cause: Error | undefined;
      client.on("error", (error) => {
        cause = error;
      });
      client.once("close", () => {
        const error = new Error("the ssh connection was lost", cause === undefined ? undefined : { cause });
        resolve(error);
        for (const listener of [...this.#listeners]) listener(error);
      });
    });
  }

  async open(line: string, handlers: SshChannelHandlers): Promise<SshChannel> {
    const channel = await this.#exec(line, handlers);
    return {
      write: (data) => { channel.write(data); },
      end: () => { channel.end(); },
      close: () => { channel.close(); },
      pause: () => { channel.pause(); },
      resume: () => { channel.resume(); },
    };
  }

  end(): void {
    this.#client.end();
    this.#client.destroy();
  }

  #exec(line: string, handlers: SshChannelHandlers): Promise<ClientChannel> {
    return new Promise((resolve, reject) => {
      this.#listeners.add(reject);
      try {
        this.#client.exec(line, (error, channel) => {
          this.#listeners.delete(reject);
          if (error === undefined) {
            // At once, not after an await: a short command's exit and close can stand in the packet read with this reply.
            this.#listen(channel, handlers);
            resolve(channel);
            return;
          }
          // ssh2 gives `reason` for a refused channel and this text for a refused "exec" request (lib/client.js).
          const refused = "reason" in error || error.message === "Unable to exec";
          reject(refused ? new ChannelRefusedError(error, true) : error);
        });
      } catch (error) {
        // "Not connected": thrown before anything was sent.
        this.#listeners.delete(reject);
        reject(new ChannelRefusedError(error, false));
      }
    });
  }

  #listen(channel: ClientChannel, handlers: SshChannelHandlers): void {
    const close = (): void => {
      if (this.#listeners.delete(close)) handlers.close();
    };
    this.#listeners.add(close);
    channel.on("data", (chunk: Buffer) => { handlers.stdout(chunk); });
    channel.stderr.on("data", (chunk: Buffer) => { handlers.stderr(chunk); });
    channel.on("exit", (code: number | null, signal?: string) => { handlers.exit(code, signal); });
    channel.on("close", close);
    // A program may close its input unread; its exit tells the rest.
    channel.on("error", () => undefined);
  }
}

function ready(client: Client, config: ConnectConfig): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`no connection within ${config.readyTimeout ?? 0} ms`));
    }, config.readyTimeout);
    const settle = (action: () => void): void => {
      clearTimeout(timer);
      action();
    };
    client.once("ready", () => { settle(resolve); });
    // Stays: ssh2 may report the same failure more than once, and an unheard "error" event ends the process.
    client.on("error", (error) => { settle(() => { reject(error); }); });
    client.once("close", () => { settle(() => { reject(new Error("the server closed the connection")); }); });
    try {
      client.connect(config);
    } catch (error) {
      settle(() => { reject(error); });
    }
  });
}

function hostKeyAlgorithms(known: KnownKeys): Pick<ConnectConfig, "algorithms"> {
  const serverHostKey = known.types.flatMap((type) => algorithmsByType[type] ?? []);
  return serverHostKey.length === 0 ? {} : { algorithms: { serverHostKey } };
}

function refuseKey(known: KnownKeys, key: Buffer, target: SshTarget, port: number): SshConnectError | undefined {
  const verdict = known.check(key);
  if (verdict === "known") return undefined;
  const name = hostPattern(target.address, port);
  const shown = `${keyType(key)} ${fingerprint(key)}`;
  const entry = `"${name} ${keyType(key)} ${key.toString("base64")}"`;
  const file = target.knownHostsFile;
  if (verdict === "unknown") {
    return new SshConnectError(`the host key of ${name} is not known`, {
      kind: "host_key",
      hint: `Compare ${shown} with the host's own key, then add the line ${entry} to ${file}.`,
    });
  }
  return new SshConnectError(`the host key of ${name} is ${verdict === "revoked" ? "revoked" : "not the known one"}`, {
    kind: "host_key",
    hint: `It now shows ${shown}. Unless the host was reinstalled, another machine answers. If it is right, correct the entry in ${file}.`,
  });
}

function describeFailure(error: unknown, target: SshTarget, port: number): SshConnectError {
  const name = hostPattern(target.address, port);
  const level = error instanceof Error && "level" in error ? error.level : undefined;
  if (level === "client-authentication" || level === "agent") {
    return new SshConnectError(`log in to ${name} as ${target.user}`, {
      kind: "credentials",
      cause: error,
      hint: `Add our public key to the authorized_keys file of ${target.user} on the host.`,
    });
  }
  return new SshConnectError(`connect to ${name}`, {
    cause: error,
    hint: "Check that the host is up, its address and port, and that its ssh server answers.",
  });
}

async function readText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new SshConnectError(`read ${what}`, { kind: "credentials", cause: error, hint: `Make ${path} readable.` });
  }
}
