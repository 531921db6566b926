import { checkHost, identityCheck, parseDatasetName, parsePoolName, parsePortal, readIdentity, type HostCheck, type HostIdentity } from "@zfsilo/host";
import { errorChain, StorageError, within } from "@zfsilo/lib";
import { isSimulated } from "../host/simulated.ts";
import type { HostRecord } from "../store/model.ts";
import type { HostStore, VolumeStore } from "../store/stores.ts";
import { isUnreachable, lookAt } from "./look.ts";
import type { Machines } from "./machines.ts";

const simulated: HostCheck = {
  name: "machine",
  state: "warning",
  observed: "simulated: no disk and no network is behind it",
  remedy: "Good for trying things out. Once there is another target host it takes no volume that does not name it; DeleteHost removes it.",
};

export interface HostProbesOptions {
  readonly machines: Machines;
  readonly hosts: Pick<HostStore, "all">;
  readonly volumes: Pick<VolumeStore, "initiatorNamesOn">;
  readonly iqnPrefix: string;
}

/** Looks at hosts without changing them, for CheckHost. */
export class HostProbes {
  readonly #machines: Machines;
  readonly #hosts: Pick<HostStore, "all">;
  readonly #volumes: Pick<VolumeStore, "initiatorNamesOn">;
  readonly #iqnPrefix: string;

  constructor({ machines, hosts, volumes, iqnPrefix }: HostProbesOptions) {
    this.#machines = machines;
    this.#hosts = hosts;
    this.#volumes = volumes;
    this.#iqnPrefix = iqnPrefix;
  }

  /** A machine that cannot be reached fails one check, which says why; the others would each wait for it and say the same. */
  async check(host: HostRecord, signal: AbortSignal): Promise<readonly HostCheck[]> {
    const { executor } = this.#machines.of(host);
    const needs = {
      roles: host.roles,
      pools: host.pools.map(({ name, parentDataset }) => ({ name: parsePoolName(name), parent: parseDatasetName(parentDataset) })),
      portals: host.portals.map((portal) => parsePortal(portal)),
      iqnPrefix: this.#iqnPrefix,
      overSsh: host.connection.kind === "ssh",
    };
    try {
      await lookAt(host.id, signal, (look) => executor.run(["date", "+%s.%N"], look));
    } catch (error) {
      signal.throwIfAborted();
      if (isUnreachable(error)) return [{ name: "connection", state: "failed", observed: errorChain(error), remedy: hintIn(error) }];
    }
    const [checks, identity] = await Promise.all([checkHost(executor, needs, { signal }), this.#identity(host, signal)]);
    const connectedAs = await this.#volumes.initiatorNamesOn(host.id);
    const named = checks.map((check) => (check.name === "initiator.name" ? nameCheck(check, host, connectedAs) : check));
    return [...(isSimulated(host) ? [simulated] : []), ...identity, ...named];
  }

  /** Whether another host is the same machine, or a clone of it. */
  async #identity(host: HostRecord, signal: AbortSignal): Promise<readonly HostCheck[]> {
    const read = async (record: HostRecord): Promise<HostIdentity | undefined> => {
      try {
        return await readIdentity(this.#machines.of(record).executor, { signal: within(identityLimitMs, signal) });
      } catch {
        signal.throwIfAborted();
        return undefined;
      }
    };
    const own = await read(host);
    if (own === undefined) return [];
    const others = (await this.#hosts.all()).filter(({ id }) => id !== host.id);
    const seen = await Promise.all(others.map(async (other) => [`hosts/${other.id}`, await read(other)] as const));
    return [identityCheck(own, new Map(seen.flatMap(([name, identity]) => (identity === undefined ? [] : [[name, identity]]))))];
  }
}

/** How long another host may take to say who it is; one that does not answer is not compared. */
const identityLimitMs = 5_000;

/** The machine's present name against the one on record and those that volumes know it by. */
function nameCheck(check: HostCheck, { initiatorIqn }: HostRecord, connectedAs: readonly string[]): HostCheck {
  const { state, observed: name } = check;
  if (state !== "ok") return check;
  if (initiatorIqn !== "" && initiatorIqn !== name) {
    const remedy = "Correct the record with UpdateHost (initiator_iqn), or the machine's name, and restart iscsid.";
    return { ...check, state: "failed", observed: `${name}; the host's record says ${initiatorIqn}`, remedy };
  }
  const others = connectedAs.filter((other) => other !== name);
  if (others.length === 0) return check;
  const remedy = "The new name is let in once no session uses the old one; SyncVolume tells of each volume why it waits.";
  return { ...check, state: "warning", observed: `${name}; volumes were connected as ${others.join(", ")}`, remedy };
}

function hintIn(error: unknown): string {
  return (error instanceof StorageError ? error.hint : undefined) ?? "See that the machine is up and can be reached.";
}
