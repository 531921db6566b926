import { checkHost, parseDatasetName, parsePoolName, parsePortal, type HostCheck } from "@zfsilo/host";
import { errorChain, StorageError } from "@zfsilo/lib";
import { isSimulated } from "../host/simulated.ts";
import type { HostRecord } from "../store/model.ts";
import { isUnreachable, lookAt } from "./look.ts";
import type { Machines } from "./machines.ts";

const simulated: HostCheck = {
  name: "machine",
  state: "warning",
  observed: "simulated: no disk and no network is behind it",
  remedy: "Good for trying things out. Once there is another target host it takes no volume that does not name it; DeleteHost removes it.",
};

/** Looks at hosts without changing them, for CheckHost. */
export class HostProbes {
  readonly #machines: Machines;

  constructor(machines: Machines) {
    this.#machines = machines;
  }

  /** A machine that cannot be reached fails one check, which says why; the others would each wait for it and say the same. */
  async check(host: HostRecord, signal: AbortSignal): Promise<readonly HostCheck[]> {
    const { executor } = this.#machines.of(host);
    const needs = {
      roles: host.roles,
      pools: host.pools.map(({ name, parentDataset }) => ({ name: parsePoolName(name), parent: parseDatasetName(parentDataset) })),
      portals: host.portals.map((portal) => parsePortal(portal)),
      overSsh: host.connection.kind === "ssh",
    };
    try {
      await lookAt(host.id, signal, (look) => executor.run(["date", "+%s.%N"], look));
    } catch (error) {
      signal.throwIfAborted();
      if (isUnreachable(error)) return [{ name: "connection", state: "failed", observed: errorChain(error), remedy: hintIn(error) }];
    }
    const checks = await checkHost(executor, needs, { signal });
    return isSimulated(host) ? [simulated, ...checks] : checks;
  }
}

function hintIn(error: unknown): string {
  return (error instanceof StorageError ? error.hint : undefined) ?? "See that the machine is up and can be reached.";
}
