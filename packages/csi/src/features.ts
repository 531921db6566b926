import type { ControlPlane } from "./control-plane.ts";

/** Words of GetServerInfo that decide what this driver offers. */
export type Feature = "snapshots" | "clones" | "group-snapshots" | "changed-ranges";

export interface Features {
  has(feature: Feature): boolean;
}

/**
 * What the control plane can do, asked anew each time: it may be upgraded under a running driver. While it does not
 * answer, what it said last counts, so that a sidecar that restarts then is not told less than before.
 */
export class ServerFeatures {
  readonly #controlPlane: ControlPlane;
  #last: ReadonlySet<string> | undefined;

  constructor(controlPlane: ControlPlane) {
    this.#controlPlane = controlPlane;
  }

  async get(signal: AbortSignal): Promise<Features> {
    const words = await this.#ask(signal);
    return { has: (feature) => words.has(feature) };
  }

  async #ask(signal: AbortSignal): Promise<ReadonlySet<string>> {
    try {
      const { features } = await this.#controlPlane.server.getServerInfo({}, { signal });
      this.#last = new Set(features);
    } catch (error) {
      if (this.#last === undefined) throw error;
    }
    return this.#last;
  }
}
