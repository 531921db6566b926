import type { Executor } from "@zfsilo/command";
import type { Iqn, PoolName, Portal } from "@zfsilo/host";

/** Two machines that the same behaviours are asked of, whether they are simulated or run real kernels. */
export interface HostWorld {
  readonly kind: "simulated" | "real";
  /** Has the pool, and exports volumes at the portal. */
  readonly target: Executor;
  /** Logs in under its own name. */
  readonly initiator: Executor;
  /** What acts in place of a person, where the two executors do not let everything through. */
  readonly byHand?: { readonly target: Executor; readonly initiator: Executor };
  readonly pool: PoolName;
  readonly portal: Portal;
  readonly initiatorIqn: Iqn;
  close(): Promise<void>;
}
