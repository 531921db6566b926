import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ServeResponseSchema, type ServeRequest, type ServeResponse } from "@zfsilo/api";
import { AsyncQueue, StorageError } from "@zfsilo/lib";

/** Gets the messages that carry its id. */
export interface AgentRequest {
  /** Of its answer, in memory until it ends. */
  readonly heldBytes: number;
  receive(message: ServeRequest["message"]): void;
  /** Nothing more comes. */
  lost(error: Error): void;
}

export interface AgentIdentity {
  readonly version: string;
  /** Made up by the agent's process at its start. */
  readonly instance: string;
  readonly nodeName: string;
  readonly runsSequences: boolean;
}

/** Of the answers to all requests that run on one agent. Those of a host with ten thousand volumes have some 20 MiB. */
export const maxHeldBytes = 128 << 20;

type Outgoing = NonNullable<MessageInitShape<typeof ServeResponseSchema>["message"]>;

/** The stream of one agent, seen from here: sends requests and hands answers to whoever asked. */
export class AgentLink {
  readonly identity: AgentIdentity;
  readonly connectedAt = new Date();
  /** To be sent, in order; ends when the link is closed. */
  readonly outgoing = new AsyncQueue<ServeResponse>();
  readonly #requests = new Map<bigint, AgentRequest>();
  #heldBytes = 0;
  readonly #listeners = new Set<() => void>();
  #lastSeen = this.connectedAt;
  #heardAt = performance.now();
  #nextId = 1n;
  #closedBy: Error | undefined;
  #onClosed: (reason: Error) => void = () => undefined;
  /** Settles, with the reason, when the link is closed. */
  readonly closed: Promise<Error>;

  constructor(identity: AgentIdentity) {
    this.identity = identity;
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
  }

  get lastSeen(): Date {
    return this.#lastSeen;
  }

  /** By a clock that nobody sets: a corrected one must neither drop agents that are there nor keep one that is gone. */
  get silentMs(): number {
    return performance.now() - this.#heardAt;
  }

  get alive(): boolean {
    return this.#closedBy === undefined;
  }

  send(message: Outgoing): void {
    this.outgoing.push(create(ServeResponseSchema, { message }));
  }

  /** Sends the request that `make` makes of a new id. Throws when the link is closed: then nothing was sent. */
  begin(request: AgentRequest, make: (id: bigint) => Outgoing): bigint {
    if (this.#closedBy !== undefined) throw this.#closedBy;
    const id = this.#nextId;
    this.#nextId += 1n;
    this.#requests.set(id, request);
    this.send(make(id));
    return id;
  }

  /** Answers to it are dropped from now on. */
  end(id: bigint): void {
    this.#heldBytes -= this.#requests.get(id)?.heldBytes ?? 0;
    this.#requests.delete(id);
  }

  receive({ message }: ServeRequest): void {
    this.#lastSeen = new Date();
    this.#heardAt = performance.now();
    for (const listener of this.#listeners) listener();
    switch (message.case) {
      case "output":
      case "exit":
      case "files":
      case "pipeExit":
      case "sequenceExit":
      case "failure":
        this.#answer(message.value.id, message);
        return;
      case "heartbeat":
        if (message.value.answerWanted) this.send({ case: "heartbeat", value: {} });
        return;
      case "hello":
      case "credentialOffer":
      case "credentialInUse":
      case undefined:
        return;
    }
  }

  #answer(id: bigint, message: ServeRequest["message"]): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    const before = request.heldBytes;
    request.receive(message);
    this.#heldBytes += request.heldBytes - before;
    if (this.#heldBytes > maxHeldBytes) this.close(new StorageError("unavailable", `the agent's answers have more than ${maxHeldBytes} bytes in all`));
  }

  /** Whether anything comes from the agent within the limit when it is asked to say something. */
  async answers(withinMs: number): Promise<boolean> {
    if (!this.alive) return false;
    let settle: (answered: boolean) => void = () => undefined;
    const answered = new Promise<boolean>((resolve) => {
      settle = resolve;
    });
    const listener = (): void => {
      settle(true);
    };
    const timer = setTimeout(() => {
      settle(false);
    }, withinMs);
    this.#listeners.add(listener);
    this.send({ case: "heartbeat", value: { answerWanted: true } });
    try {
      return await Promise.race([answered, this.closed.then(() => false)]);
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(listener);
    }
  }

  /** Every request that runs is lost by this reason: what it did is unknown. */
  close(reason: Error): void {
    if (this.#closedBy !== undefined) return;
    this.#closedBy = reason;
    this.outgoing.end();
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const request of requests) request.lost(reason);
    this.#onClosed(reason);
  }
}
