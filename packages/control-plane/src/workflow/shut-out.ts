import { parseIqn } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";

const context = z.object({ volumeId, initiatorIqn: z.string() });

/** Ends the access of an initiator that no attachment names, at the target of one volume. The others come back by themselves. */
export const shutOutInitiator = forward<z.infer<typeof context>, WorkflowDeps>("volume.shut-out", context, [
  {
    name: "shut initiator out",
    async do({ volumeId, initiatorIqn }, { deps, signal }) {
      const volume = await deps.volumes.get(volumeId);
      const { lio } = await deps.machines.get(volume.hostId);
      await lio.removeInitiator(parseIqn(volume.targetName), parseIqn(initiatorIqn), { signal });
      return undefined;
    },
  },
]);
