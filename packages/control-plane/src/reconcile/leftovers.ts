import type { Logger } from "@zfsilo/lib";
import type { LeftoverRecord } from "../store/model.ts";
import { requireCurrent } from "./current.ts";
import { cleanInitiator } from "../workflow/clean-initiator.ts";
import { isOutOfTheWay, type ReconcileDeps } from "./apply.ts";
import type { RetryLater } from "./retry-later.ts";

/** Names one among the things that are tried again later. */
export function leftoverKey({ hostId, targetName }: LeftoverRecord): string {
  return `${hostId} ${targetName}`;
}

/**
 * Removes what initiators that were forced off kept, whether or not the volume is still there. `isDue` says whose turn it is: a host
 * that does not answer has none. Nothing is touched that no record says we made.
 */
export async function cleanLeftovers(
  deps: ReconcileDeps & { readonly log: Logger },
  isDue: (leftover: LeftoverRecord) => boolean,
  later: Pick<RetryLater<string>, "failed" | "forget">,
): Promise<void> {
  for (const leftover of await deps.leftovers.all()) {
    if (!isDue(leftover)) continue;
    try {
      await clean(deps, leftover);
      later.forget(leftoverKey(leftover));
    } catch (error) {
      if (isOutOfTheWay(error)) continue;
      later.failed(leftoverKey(leftover));
      deps.log.warn({ err: error, host: leftover.hostId, target: leftover.targetName }, "what is left of a volume could not be removed yet");
    }
  }
}

async function clean(deps: ReconcileDeps, { volumeId, hostId, targetName }: LeftoverRecord): Promise<void> {
  const { operations, volumes, leftovers } = deps;
  const request = { subject: `volumes/${volumeId}`, kind: cleanInitiator.kind, input: { hostId, targetName }, background: true };
  await operations.submit(request, async (begin) => {
    if ((await leftovers.find(hostId, targetName)) === undefined) return;
    const volume = await volumes.find(volumeId);
    // In an older database it may stand for a host that has been connected again since.
    if (volume?.state === "ready") await requireCurrent(deps, volume);
    const isAttached = volume?.targetName === targetName && volume.attachments.some((attachment) => attachment.hostId === hostId);
    // Connecting it again has removed what was old.
    if (isAttached) await leftovers.remove(hostId, targetName);
    else await begin(cleanInitiator, { volumeId, hostId, targetName });
  });
}
