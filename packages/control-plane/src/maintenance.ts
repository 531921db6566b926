import type { Logger } from "@zfsilo/lib";
import type { JoinTokenStore, OperationStore } from "./store/stores.ts";

export interface MaintenanceOptions {
  /** How often open operations that nothing runs are tried again. */
  readonly retryEveryMs: number;
  readonly retryUnfinished: () => Promise<void>;
  readonly operations: Pick<OperationStore, "prune">;
  readonly joinTokens: Pick<JoinTokenStore, "prune">;
  /** Operations that ended longer ago are forgotten. */
  readonly retentionDays: number;
  readonly log: Logger;
  readonly readiness: { check(): void };
}

const checkEveryMs = 1_000;
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** What goes on by itself while the control plane runs. Ends when disposed; never keeps the process up. */
export function startMaintenance(options: MaintenanceOptions): Disposable {
  const guarded = (what: string, work: () => Promise<unknown>) => (): void => {
    work().catch((error: unknown) => {
      options.log.error({ err: error }, `${what} failed; it is tried again later`);
    });
  };
  const prune = guarded("forgetting old operations", () =>
    options.operations.prune(new Date(Date.now() - options.retentionDays * dayMs)),
  );
  const forgetTokens = guarded("forgetting expired join tokens", () => options.joinTokens.prune(new Date(Date.now() - dayMs)));
  const retry = guarded("finishing open operations", options.retryUnfinished);
  const check = (): void => { options.readiness.check(); };
  const timers = [setInterval(retry, options.retryEveryMs), setInterval(prune, hourMs), setInterval(forgetTokens, hourMs), setInterval(check, checkEveryMs)];
  for (const timer of timers) timer.unref();
  retry();
  prune();
  forgetTokens();
  return {
    [Symbol.dispose]() {
      for (const timer of timers) clearInterval(timer);
    },
  };
}
