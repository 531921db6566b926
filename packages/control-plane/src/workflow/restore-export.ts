import { forward } from "@zfsilo/try";
import { z } from "zod";
import { allowInitiator } from "./connect-volume.ts";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { unlockFromFile } from "./encryption.ts";
import { ensureExport } from "./publish-volume.ts";

const context = z.object({ volumeId });

/**
 * Brings back an export that the record has and the target host lost, as after its reboot: nothing of LIO is saved on the
 * host. Forward only: taking an export away again would shut out initiators that are entitled to it.
 */
export const restoreExport = forward<z.infer<typeof context>, WorkflowDeps>("volume.restore-export", context, [
  {
    name: "unlock volume",
    async do({ volumeId }, { deps, signal }) {
      const volume = await deps.volumes.get(volumeId);
      if (volume.encryption !== undefined) await unlockFromFile(await deps.machines.get(volume.hostId), volume, "export", deps, signal);
      return undefined;
    },
  },
  {
    name: "export volume",
    async do({ volumeId }, { deps, signal }) {
      const volume = await deps.volumes.get(volumeId);
      await ensureExport(await deps.machines.get(volume.hostId), volume, volume.portals, signal);
      return undefined;
    },
  },
  {
    name: "let initiators in",
    async do({ volumeId }, { deps, signal }) {
      const volume = await deps.volumes.get(volumeId);
      const machine = await deps.machines.get(volume.hostId);
      for (const attachment of volume.attachments) await allowInitiator(machine, volume, attachment, signal);
      return undefined;
    },
  },
]);
