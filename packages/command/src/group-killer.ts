import { setTimeout as sleep } from "node:timers/promises";
import { endGroupsLine } from "./quote.ts";
import type { SshConnection } from "./ssh-connection.ts";

/** The line itself takes 2 s at most; this is for a connection that went silent. */
const limitMs = 3_000;

/**
 * Ends process groups at the other end of a connection, over one channel of it at a time: groups that come while it is
 * busy wait and are ended together, so that ten commands timing out at once cost two rounds and one channel.
 */
export class GroupKiller {
  readonly #connection: SshConnection;
  #waiting: number[] = [];
  #nextRound: Promise<void> | undefined;
  #lastRound: Promise<void> = Promise.resolve();

  constructor(connection: SshConnection) {
    this.#connection = connection;
  }

  /** Resolves when the group is gone, hangs in the kernel, or can no longer be reached. */
  async end(group: number): Promise<void> {
    this.#waiting.push(group);
    this.#nextRound ??= this.#lastRound.then(async () => {
      const groups = this.#waiting;
      this.#waiting = [];
      this.#nextRound = undefined;
      this.#lastRound = this.#kill(groups);
      await this.#lastRound;
    });
    await this.#nextRound;
  }

  async #kill(groups: readonly number[]): Promise<void> {
    const timer = new AbortController();
    try {
      await Promise.race([this.#runLine(endGroupsLine(groups)), sleep(limitMs, undefined, { signal: timer.signal })]);
    } finally {
      timer.abort();
    }
  }

  /** A failure leaves the groups to sshd, which hangs up on the sessions of a connection that ends. */
  #runLine(line: string): Promise<void> {
    return new Promise((resolve) => {
      const ignore = (): void => undefined;
      this.#connection
        .open(line, { stdout: ignore, stderr: ignore, exit: ignore, close: resolve })
        .then((channel) => { channel.end(); }, () => { resolve(); });
    });
  }
}
