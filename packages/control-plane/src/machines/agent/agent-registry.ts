import type { ServeRequest } from "@zfsilo/api";
import { KeyedMutex, StorageError, within, type HostId, type Logger } from "@zfsilo/lib";
import type { AgentRecord, HostRecord } from "../../store/model.ts";
import type { AgentStore, HostStore } from "../../store/stores.ts";
import { AgentHub, type AgentObserver } from "./agent-hub.ts";
import type { AgentLink } from "./agent-link.ts";
import { bearer, isCredentialHash, sha256 } from "./credential.ts";

export interface AgentRegistryOptions {
  readonly agents: AgentStore;
  readonly hosts: Pick<HostStore, "find">;
  readonly log: Logger;
  /** Told whether a host's stream is there. */
  readonly answers: { seen(host: HostId, answered: boolean): void };
  /** A host's stream is there, again or for the first time. */
  readonly onAttached: (host: HostId) => void;
}

/** What the API shows of a host's agent. */
export interface AgentView {
  readonly record: AgentRecord;
  readonly link: AgentLink | undefined;
}

const rotationLimitMs = 15_000;
/** How old a stored last_seen may be after the control plane itself was killed. */
const seenEveryMs = 60_000;

/** Which agents there are, which credential opens which host's stream, and which streams are open. */
export class AgentRegistry implements AgentObserver, AsyncDisposable {
  readonly hub: AgentHub;
  /** One enrolment of a host at a time (enrolment.ts). */
  readonly enrolments = new KeyedMutex();
  readonly #options: AgentRegistryOptions;
  readonly #agents = new Map<HostId, AgentRecord>();
  readonly #turns = new KeyedMutex();
  readonly #rotations = new Map<HostId, () => void>();
  readonly #timer: NodeJS.Timeout;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(options: AgentRegistryOptions) {
    this.#options = options;
    this.hub = new AgentHub(this);
    this.#timer = setInterval(() => { this.#keepLastSeen(this.hub.all()); }, seenEveryMs);
    this.#timer.unref();
  }

  /** Before the first agent may come. */
  async load(): Promise<void> {
    for (const agent of await this.#options.agents.all()) this.#agents.set(agent.hostId, agent);
  }

  view(host: HostId): AgentView | undefined {
    const record = this.#agents.get(host);
    return record && { record, link: this.hub.find(host) };
  }

  /** The host whose agent shows this header. Which of several reasons refuses it, only the log tells. */
  async admit(authorization: string | null): Promise<HostId> {
    const hash = sha256(bearer(authorization));
    const agent = [...this.#agents.values()].find(({ credential, nextCredential }) => credential === hash || nextCredential === hash);
    const host = agent && (await this.#options.hosts.find(agent.hostId));
    if (agent === undefined || host === undefined) {
      this.#options.log.warn("an agent showed a credential that is not known");
      throw notAdmitted();
    }
    if (agent.revokedAt !== undefined) {
      this.#options.log.warn({ host: host.id, revokedAt: agent.revokedAt }, "an agent showed a credential that was revoked");
      throw notAdmitted();
    }
    refuseOtherConnection(host);
    // It was written down over there, so the one before is not needed any more.
    if (agent.nextCredential === hash) await this.#change(host.id, () => ({ credential: hash, nextCredential: "" }));
    return host.id;
  }

  /** From now on this credential, and no other, opens the host's stream. */
  async enrol(host: HostId, credential: string, nodeName: string): Promise<void> {
    const before = this.#agents.get(host);
    if (before?.credential === credential) {
      if (before.revokedAt === undefined) return;
      throw new StorageError("precondition", `enrol the agent of hosts/${host}: its credential was revoked`, { hint: "Remove the agent's credential file." });
    }
    await this.#put({
      hostId: host,
      credential,
      nextCredential: "",
      enrolledAt: new Date(),
      revokedAt: undefined,
      lastSeenAt: before?.lastSeenAt,
      version: "",
      nodeName,
      problem: undefined,
    });
    this.#options.log.info({ host, nodeName, replaced: before !== undefined }, "agent enrolled");
    this.hub.drop(host, new StorageError("aborted", "another agent has enrolled for this host"));
  }

  async revoke(host: HostId): Promise<void> {
    const agent = this.#agents.get(host);
    if (agent === undefined) throw noAgent(host);
    if (agent.revokedAt === undefined) {
      await this.#change(host, () => ({ nextCredential: "", revokedAt: new Date(), problem: undefined }));
      this.#options.log.warn({ host }, "agent revoked");
    }
    this.hub.drop(host, new StorageError("unauthenticated", "the agent's credential was revoked"));
  }

  /** Resolves when the agent has forgotten the credential before. */
  async rotate(host: HostId, signal: AbortSignal): Promise<void> {
    const link = this.hub.find(host);
    if (link === undefined) {
      throw new StorageError("unavailable", `rotate the credential of hosts/${host}: its agent is not connected`, {
        details: { host: `hosts/${host}` },
        hint: "Try again when it is; revoke the agent when the credential may be in wrong hands.",
      });
    }
    const limit = within(rotationLimitMs, signal);
    const done = new Promise<void>((resolve, reject) => {
      this.#rotations.set(host, resolve);
      limit.addEventListener("abort", () => { reject(unconfirmed(host)); }, { once: true });
      void link.closed.then(() => { reject(unconfirmed(host)); });
    });
    try {
      link.send({ case: "credentialRequest", value: {} });
      await done;
    } finally {
      this.#rotations.delete(host);
    }
  }

  /** What of an agent's messages is about its credential. */
  async received(host: HostId, link: AgentLink, { message }: ServeRequest): Promise<void> {
    const agent = this.#agents.get(host);
    if (agent === undefined || agent.revokedAt !== undefined) return;
    if (message.case === "credentialOffer") {
      const { credentialSha256 } = message.value;
      // Unasked, it would let whoever took the stream over keep the host.
      if (!this.#rotations.has(host) || !isCredentialHash(credentialSha256)) return;
      await this.#change(host, () => ({ nextCredential: credentialSha256 }));
      link.send({ case: "credentialAccepted", value: {} });
    } else if (message.case === "credentialInUse" && agent.nextCredential !== "") {
      await this.#change(host, ({ nextCredential }) => ({ credential: nextCredential, nextCredential: "", problem: undefined }));
      this.#options.log.info({ host }, "agent credential rotated");
      this.#rotations.get(host)?.();
    }
  }

  /** A credential came with the name of another host: its file was copied. */
  mismatched(host: HostId, said: string): void {
    this.#problem(host, "AGENT_IDENTITY_MISMATCH", `its credential was shown by an agent that says it serves ${said}`);
  }

  attached(host: HostId, link: AgentLink): void {
    const { version, nodeName } = link.identity;
    this.#background(this.#change(host, () => ({ version, nodeName, lastSeenAt: link.lastSeen })));
    this.#options.log.info({ host, version, nodeName }, "agent connected");
    this.#options.answers.seen(host, true);
    this.#options.onAttached(host);
  }

  detached(host: HostId, link: AgentLink): void {
    this.#options.log.warn({ host }, "agent disconnected");
    this.#options.answers.seen(host, false);
    this.#keepLastSeen([[host, link]]);
  }

  contested(host: HostId, staying: AgentLink, refused: AgentLink): void {
    const nodes = `${staying.identity.nodeName} stays, ${refused.identity.nodeName} was refused`;
    this.#problem(host, "AGENT_CONTESTED", `two processes show its credential at the same time: ${nodes}`);
  }

  /** A host that is reached in another way from now on needs no stream. */
  hostChanged({ id, connection }: HostRecord): void {
    if (connection.kind !== "agent") this.hub.drop(id, new StorageError("precondition", "the host is not reached by an agent any more"));
  }

  /** A forgotten host's credential opens nothing: its row has gone with the host's. */
  hostRemoved(host: HostId): void {
    this.#agents.delete(host);
    this.hub.drop(host, new StorageError("not_found", "the host was deleted"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.hub.close(new StorageError("unavailable", "the control plane is stopping"));
    await this.#writing;
  }

  #problem(host: HostId, reason: string, message: string): void {
    this.#options.log.error({ host, problem: reason }, message);
    const problem = { reason, message, observedAt: new Date() };
    // Whoever holds the copy tries again and again: once is enough to write.
    this.#background(this.#change(host, (agent) => (agent.problem?.reason === reason ? undefined : { problem })));
  }

  /** One change of a record at a time, each made of what the one before left. */
  async #change(host: HostId, make: (agent: AgentRecord) => Partial<AgentRecord> | undefined): Promise<void> {
    using _turn = await this.#turns.acquire(host);
    const agent = this.#agents.get(host);
    const change = agent && make(agent);
    if (agent === undefined || change === undefined) return;
    await this.#write({ ...agent, ...change });
  }

  async #put(agent: AgentRecord): Promise<void> {
    using _turn = await this.#turns.acquire(agent.hostId);
    await this.#write(agent);
  }

  async #write(agent: AgentRecord): Promise<void> {
    await this.#options.agents.put(agent);
    this.#agents.set(agent.hostId, agent);
  }

  #keepLastSeen(links: Iterable<readonly [HostId, AgentLink]>): void {
    const times = new Map<HostId, Date>();
    for (const [host, { lastSeen }] of links) {
      const agent = this.#agents.get(host);
      if (agent === undefined) continue;
      this.#agents.set(host, { ...agent, lastSeenAt: lastSeen });
      times.set(host, lastSeen);
    }
    this.#background(this.#options.agents.seen(times));
  }

  #background(work: Promise<void>): void {
    const done = work.catch((error: unknown) => {
      this.#options.log.error({ err: error }, "what is known of an agent could not be stored");
    });
    this.#writing = Promise.all([this.#writing, done]);
  }
}

function notAdmitted(): StorageError {
  return new StorageError("unauthenticated", "this stream needs the credential of an enrolled agent", {
    hint: "Enrol the agent with a join token. The control plane's log tells why the credential was refused.",
  });
}

function refuseOtherConnection(host: HostRecord): void {
  if (host.connection.kind === "agent") return;
  throw new StorageError("precondition", `hosts/${host.id} is not reached by an agent, but by ${host.connection.kind}`, {
    details: { host: `hosts/${host.id}` },
    hint: "Set its connection to agent with UpdateHost.",
  });
}

export function noAgent(host: HostId): StorageError {
  return new StorageError("precondition", `hosts/${host} has no agent`, { details: { host: `hosts/${host}`, reason: "NO_AGENT" } });
}

function unconfirmed(host: HostId): StorageError {
  return new StorageError("unavailable", `rotate the credential of hosts/${host}: the agent did not confirm in time`, {
    details: { host: `hosts/${host}` },
    hint: "Both credentials may be valid until the agent connects again with the newer one. Ask again.",
  });
}
