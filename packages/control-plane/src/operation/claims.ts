import type { OperationId } from "@zfsilo/lib";
import { GivenUpHosts } from "./given-up.ts";

/** Somebody's right to act on subjects, from the first look at them until the answer. */
export interface Claim {
  readonly print: string;
  answer: Promise<unknown>;
  /** It finishes what an earlier request began, and its answer is that request's and nobody's. */
  readonly recovers: boolean;
  /** No caller asked for it: callers wait until it is over. */
  readonly background: boolean;
  readonly givenUp: GivenUpHosts;
  operation: OperationId | undefined;
  /** Resolves when the claim has an operation, or ends without having needed one. */
  readonly decided: Promise<void>;
  decide(): void;
}

export interface ClaimOptions {
  /** An operation that is left and that it finishes. */
  readonly recovering?: OperationId;
  readonly background?: boolean;
}

export function newClaim(print: string, { recovering, background = false }: ClaimOptions = {}): Claim {
  let decide = (): void => undefined;
  const decided = new Promise<void>((resolve) => {
    decide = resolve;
  });
  return {
    print,
    answer: Promise.resolve(),
    recovers: recovering !== undefined,
    background: background || recovering !== undefined,
    givenUp: new GivenUpHosts(),
    operation: recovering,
    decided,
    decide,
  };
}

export interface Claimed {
  /** For itself alone. */
  readonly alone: Iterable<string>;
  /** With others that only share it. */
  readonly shared: Iterable<string>;
}

/**
 * Who has claimed what. A claim takes all of its subjects at once or none, and holds none while it waits for others: so two
 * claims on several subjects never wait for each other, in whatever order they name them.
 */
export class Claims {
  readonly #alone = new Map<string, Claim>();
  readonly #shared = new Map<string, Set<Claim>>();

  /** Who holds it for itself alone. */
  on(subject: string): Claim | undefined {
    return this.#alone.get(subject);
  }

  /** One that must end before these can be taken. */
  inTheWay({ alone, shared }: Claimed): Claim | undefined {
    for (const subject of alone) {
      const holder = this.#alone.get(subject) ?? this.#shared.get(subject)?.values().next().value;
      if (holder !== undefined) return holder;
    }
    for (const subject of shared) {
      const holder = this.#alone.get(subject);
      if (holder !== undefined) return holder;
    }
    return undefined;
  }

  /** Nothing may be in the way. */
  take(claim: Claim, { alone, shared }: Claimed): void {
    for (const subject of alone) this.#alone.set(subject, claim);
    for (const subject of shared) this.#shared.set(subject, (this.#shared.get(subject) ?? new Set()).add(claim));
  }

  release(claim: Claim, { alone, shared }: Claimed): void {
    for (const subject of alone) if (this.#alone.get(subject) === claim) this.#alone.delete(subject);
    for (const subject of shared) {
      const sharers = this.#shared.get(subject);
      sharers?.delete(claim);
      if (sharers?.size === 0) this.#shared.delete(subject);
    }
  }

  all(): ReadonlySet<Claim> {
    return new Set(this.#alone.values());
  }
}
