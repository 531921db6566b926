import type { EnrolRequest, ServeRequest } from "@zfsilo/api";
import type { HostId, OperationId } from "@zfsilo/lib";
import type { AgentLink } from "../machines/agent/agent-link.ts";
import type { PoolProbe } from "../machines/pool-probe.ts";
import type { AgentView } from "../machines/agent/agent-registry.ts";
import type { Seen } from "../machines/presence.ts";
import type { Progress } from "../operation/trace.ts";
import type { HostRecord } from "../store/model.ts";

/** What the services need of the rest of the control plane. */

export interface HostCheckResult {
  /** Short name, e.g. `tool/zfs`. */
  readonly name: string;
  readonly state: "ok" | "warning" | "failed";
  readonly observed: string;
  /** How to mend it; empty when ok. */
  readonly remedy: string;
}

/** Looks at a machine without changing it. */
export interface HostProbe {
  check(host: HostRecord, signal: AbortSignal): Promise<readonly HostCheckResult[]>;
}

/** Reads the pools of a host, or the one named. Throws when the host does not answer. */
export type PoolReader = Pick<PoolProbe, "look" | "status">;

/** Calls `listener` after each change of an operation until the returned function is called. */
export interface OperationWatch {
  subscribe(id: OperationId, listener: () => void): () => void;
  /** How much of the step that runs now is done; undefined where nothing is known of it. */
  progressOf(id: OperationId): Progress | undefined;
}

/** Told when a host's record has changed or gone, so that a kept connection can be dropped. */
export interface HostObserver {
  hostChanged(host: HostRecord): void;
  hostRemoved(host: HostRecord): void;
}

/** What is known of a machine besides its record. */
export interface HostView {
  readonly seen?: Seen | undefined;
  readonly agent?: AgentView | undefined;
}

/** What hosts and their agents look like now, and what a person can do about an agent. */
export interface HostAgents {
  view(host: HostId): HostView;
  rotate(host: HostId, signal: AbortSignal): Promise<void>;
  revoke(host: HostId): Promise<void>;
}

/** Decides which agents may serve which hosts. */
export interface AgentAdmission {
  /** The host whose agent shows this Authorization header. Throws unauthenticated. */
  admit(authorization: string | null): Promise<HostId>;
  /** Takes a join token in. Throws unauthenticated, or precondition when the host has an agent already. */
  enrol(request: EnrolRequest): Promise<HostId>;
  /** A host's credential came with another host's name. */
  mismatched(host: HostId, said: string): void;
  /** Each message that came over a host's stream. */
  received(host: HostId, link: AgentLink, message: ServeRequest): Promise<void>;
}
