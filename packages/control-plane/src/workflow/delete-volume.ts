import { parseDatasetName } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { ownerOf } from "./ownership.ts";

const context = z.object({ volumeId });

/**
 * Destroys the zvol and forgets the volume. Only a zvol with our properties and the recorded guid is destroyed; one that
 * is gone counts as destroyed only while its pool is imported (I3). A crash in between is resumed.
 */
export const deleteVolume = forward<z.infer<typeof context>, WorkflowDeps>("volume.delete", context, [
  {
    name: "destroy zvol",
    async do({ volumeId }, { deps, signal }) {
      const volume = await deps.volumes.find(volumeId);
      if (volume === undefined) return undefined;
      const { zfs } = await deps.machines.get(volume.hostId);
      await zfs.destroyOwnedVolume(parseDatasetName(volume.dataset), ownerOf(volume, deps), { signal });
      return undefined;
    },
  },
  {
    name: "forget volume",
    async do({ volumeId }, { deps }) {
      await deps.volumes.remove(volumeId);
      return undefined;
    },
  },
]);
