import { parseDatasetName } from "@zfsilo/host";
import type { Logger } from "@zfsilo/lib";
import { lookAt } from "../machines/look.ts";
import type { Machines } from "../machines/machines.ts";
import type { HostRecord } from "../store/model.ts";
import type { Observation } from "./observation.ts";

export interface QuotaDeps {
  readonly machines: Machines;
  readonly log: Logger;
}

/**
 * Gives parent datasets the quota that their host's record says, where it says one. A dataset that is not there yet gets it when
 * it is made. What is refused (less than is in use) is tried again with the next cycle; until then sums go by the record.
 */
export async function applyQuotas(deps: QuotaDeps, hosts: readonly HostRecord[], seen: Observation, signal: AbortSignal): Promise<void> {
  await Promise.all(
    hosts.map(async (host) => {
      try {
        await lookAt(host.id, signal, (look) => applyOn(deps, host, seen, look.signal));
      } catch (error) {
        signal.throwIfAborted();
        deps.log.warn({ err: error, host: host.id }, "a quota could not be set yet");
      }
    }),
  );
}

async function applyOn({ machines, log }: QuotaDeps, host: HostRecord, seen: Observation, signal: AbortSignal): Promise<void> {
  const pools = seen.targets.get(host.id)?.pools;
  const wanted = host.pools.flatMap(({ name, parentDataset, quotaBytes }) =>
    quotaBytes === undefined || typeof pools?.get(name) !== "object" ? [] : [{ dataset: parseDatasetName(parentDataset), quotaBytes }],
  );
  const [first, ...others] = wanted.map(({ dataset }) => dataset);
  if (first === undefined) return;
  const { zpools } = machines.of(host);
  const spaces = await zpools.spaces([first, ...others], { signal });
  for (const { dataset, quotaBytes } of wanted) {
    const space = spaces.get(dataset);
    if (space === undefined || space.quotaBytes === quotaBytes) continue;
    await zpools.setQuota(dataset, quotaBytes, { signal });
    log.info({ host: host.id, dataset, quotaBytes: quotaBytes.toString() }, "quota set");
  }
}
