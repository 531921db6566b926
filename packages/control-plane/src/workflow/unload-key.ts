import { parseDatasetName } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { getOwnZvol } from "./ownership.ts";

const context = z.object({ volumeId });

/** Unloads the key of a volume: it and its clones are locked. ZFS refuses while one of them is open. */
export const unloadKey = forward<z.infer<typeof context>, WorkflowDeps>("volume.unload-key", context, [
  {
    name: "unload key",
    async do({ volumeId }, { deps, signal }) {
      const volume = await deps.volumes.get(volumeId);
      const machine = await deps.machines.get(volume.hostId);
      await getOwnZvol(machine, volume, deps, signal);
      await machine.keys.unload(parseDatasetName(volume.dataset), { signal });
      return undefined;
    },
  },
  {
    name: "record key status",
    async do({ volumeId }, { deps }) {
      const { encryption } = await deps.volumes.get(volumeId);
      if (encryption !== undefined) await deps.volumes.update(volumeId, { encryption: { ...encryption, locked: true } });
      return undefined;
    },
  },
]);
