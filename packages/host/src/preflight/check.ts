export type CheckState = "ok" | "warning" | "failed";

/** One thing a host needs, as it was seen. */
export interface HostCheck {
  /** Stable, dotted: `tool.zfs`, `pool.tank`, `portal.10.9.0.2:3260`. */
  readonly name: string;
  readonly state: CheckState;
  readonly observed: string;
  /** What mends it; empty when it is ok. */
  readonly remedy: string;
}

export const ok = (name: string, observed: string): HostCheck => ({ name, state: "ok", observed, remedy: "" });
export const warning = (name: string, observed: string, remedy: string): HostCheck => ({
  name,
  state: "warning",
  observed,
  remedy,
});
export const failed = (name: string, observed: string, remedy: string): HostCheck => ({
  name,
  state: "failed",
  observed,
  remedy,
});
