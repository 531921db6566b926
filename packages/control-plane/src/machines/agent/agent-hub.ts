import { KeyedMutex, StorageError, type HostId } from "@zfsilo/lib";
import type { AgentLink } from "./agent-link.ts";

/** Told when a host's agent comes and goes. */
export interface AgentObserver {
  attached(host: HostId, link: AgentLink): void;
  detached(host: HostId, link: AgentLink): void;
  /** Two processes show the same credential at the same time: a copied disk, or a thief. The one that was there stays. */
  contested(host: HostId, staying: AgentLink, refused: AgentLink): void;
}

/** How long the stream that a host has gets to prove that it lives when another one wants its place. */
const proofMs = 3_000;

/** Which stream leads to which host. At most one does. */
export class AgentHub {
  readonly #observer: AgentObserver;
  readonly #links = new Map<HostId, AgentLink>();
  readonly #turns = new KeyedMutex();

  constructor(observer: AgentObserver) {
    this.#observer = observer;
  }

  find(host: HostId): AgentLink | undefined {
    return this.#links.get(host);
  }

  all(): ReadonlyMap<HostId, AgentLink> {
    return this.#links;
  }

  /**
   * Makes the link the host's. One that is there already leaves when it belongs to the same process or does not answer;
   * otherwise it stays, and `aborted` is thrown.
   */
  async attach(host: HostId, link: AgentLink, signal: AbortSignal): Promise<void> {
    using _turn = await this.#turns.acquire(host, signal);
    const before = this.#links.get(host);
    if (before !== undefined) await this.#makeRoom(host, before, link);
    // The newcomer may have gone meanwhile.
    if (!link.alive) return;
    this.#links.set(host, link);
    void link.closed.then(() => {
      if (this.#links.get(host) !== link) return;
      this.#links.delete(host);
      this.#observer.detached(host, link);
    });
    this.#observer.attached(host, link);
  }

  /** Ends the host's stream, when it has one. */
  drop(host: HostId, reason: Error): void {
    this.#links.get(host)?.close(reason);
  }

  close(reason: Error): void {
    for (const link of [...this.#links.values()]) link.close(reason);
  }

  async #makeRoom(host: HostId, before: AgentLink, link: AgentLink): Promise<void> {
    const sameProcess = before.identity.instance === link.identity.instance;
    if (!sameProcess && (await before.answers(proofMs))) {
      this.#observer.contested(host, before, link);
      throw new StorageError("aborted", `hosts/${host} is served by another agent, which is alive`, {
        details: { host: `hosts/${host}`, reason: "AGENT_CONTESTED" },
        hint: "Two processes hold the same credential. Stop one; if you do not know the other, revoke the agent and enrol it anew.",
      });
    }
    const why = sameProcess ? "the agent has connected again" : "the agent did not answer, and another took its place";
    before.close(new StorageError("aborted", why));
  }
}
