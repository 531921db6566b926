import { parseIqn } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { raiseGeneration, tellZvol } from "./generation.ts";

const context = z.object({ volumeId, generation: z.number().optional() });

/** Ends the export. Every piece that is gone already counts as removed; a crash is resumed. */
export const unpublishVolume = forward<z.infer<typeof context>, WorkflowDeps>("volume.unpublish", context, [
  {
    name: "end export",
    async do({ volumeId, generation }, io) {
      const { deps, signal } = io;
      const volume = await raiseGeneration(deps, volumeId, generation);
      const { lio } = await deps.machines.get(volume.hostId);
      await lio.removeExport({ handle: volume.handle, target: parseIqn(volume.targetName) }, { signal });
      await tellZvol(volume, generation, io);
      return undefined;
    },
  },
  {
    name: "record end of export",
    async do({ volumeId }, { deps }) {
      await deps.volumes.update(volumeId, { published: false, portals: [] });
      return undefined;
    },
  },
]);
