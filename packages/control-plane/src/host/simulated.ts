import type { HostRecord } from "../store/model.ts";

/** A machine that is not there: no disk and no network is behind it. */
export function isSimulated({ connection }: Pick<HostRecord, "connection">): boolean {
  return connection.kind === "simulated";
}

/**
 * The target hosts that may take a volume whose request names none. Simulated ones only as long as there is no other: a volume that
 * nobody asked to be simulated would keep no data.
 */
export function unnamedTargets(hosts: readonly HostRecord[]): readonly HostRecord[] {
  const targets = hosts.filter(({ roles }) => roles.includes("target"));
  const real = targets.filter((host) => !isSimulated(host));
  return real.length === 0 ? targets : real;
}
