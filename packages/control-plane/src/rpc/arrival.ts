import { createContextKey, type ContextKey } from "@connectrpc/connect";
import { randomUUID } from "node:crypto";

/** What the headers of a call told before its message was read. */
export interface Arrival {
  readonly requestId: string;
  /** Whose token it came with; empty for services that take none. */
  readonly caller: string;
  /** For services that check credentials of their own. */
  readonly login: {
    succeeded(): void;
    /** Waits before the refusal may be sent when there were many. */
    failed(): Promise<void>;
  };
}

export const arrivalKey: ContextKey<Arrival | undefined> = createContextKey<Arrival | undefined>(undefined, { description: "arrival" });

export const requestIdHeader = "x-request-id";
const plainId = /^[A-Za-z0-9._-]{1,64}$/;

/** The caller's own id where it is fit for a log line, else a new one. */
export function requestIdFrom(given: string | null | undefined): string {
  return typeof given === "string" && plainId.test(given) ? given : randomUUID();
}
