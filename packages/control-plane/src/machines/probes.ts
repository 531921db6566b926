import { checkHost, parseDatasetName, parsePoolName, parsePortal, type HostCheck } from "@zfsilo/host";
import type { HostRecord } from "../store/model.ts";
import type { Machines } from "./machines.ts";

/** Looks at hosts without changing them, for CheckHost. */
export class HostProbes {
  readonly #machines: Machines;

  constructor(machines: Machines) {
    this.#machines = machines;
  }

  check(host: HostRecord, signal: AbortSignal): Promise<readonly HostCheck[]> {
    const needs = {
      roles: host.roles,
      pools: host.pools.map(({ name, parentDataset }) => ({ name: parsePoolName(name), parent: parseDatasetName(parentDataset) })),
      portals: host.portals.map((portal) => parsePortal(portal)),
      overSsh: host.connection.kind === "ssh",
    };
    return checkHost(this.#machines.of(host).executor, needs, { signal });
  }
}
