import { createContextKey, type ContextKey } from "@connectrpc/connect";
import type { Logger } from "@zfsilo/lib";

/** What is known about a call besides its message. */
export interface CallContext {
  /** In the response header x-request-id, and in each log line about the call. */
  readonly requestId: string;
  readonly log: Logger;
  /** Whose token it came with; empty for calls that need none. */
  readonly caller: string;
}

export const callContext: ContextKey<CallContext | undefined> = createContextKey<CallContext | undefined>(undefined, {
  description: "call",
});
