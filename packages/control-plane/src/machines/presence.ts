import type { HostId } from "@zfsilo/lib";
import type { AnswerObserver } from "./connect.ts";

export interface Seen {
  readonly online: boolean;
  /** Undefined: not since this process started. */
  readonly lastSeen: Date | undefined;
}

/** When each host last answered, whatever was asked of it. Passes on what it is told. */
export class HostPresence implements AnswerObserver {
  readonly #next: AnswerObserver;
  readonly #seen = new Map<HostId, Seen>();

  constructor(next: AnswerObserver) {
    this.#next = next;
  }

  /** Undefined: nothing was asked of it yet. */
  of(host: HostId): Seen | undefined {
    return this.#seen.get(host);
  }

  seen(host: HostId, answered: boolean): void {
    const lastSeen = answered ? new Date() : this.#seen.get(host)?.lastSeen;
    this.#seen.set(host, { online: answered, lastSeen });
    this.#next.seen(host, answered);
  }

  hostRemoved(host: HostId): void {
    this.#seen.delete(host);
  }
}
