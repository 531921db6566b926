import { parseIqn, parsePortal } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import { allowInitiator } from "./connect-volume.ts";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { unlockFromFile } from "./encryption.ts";
import { isAmong, presentPortals, textOf } from "./portals.ts";
import { ensureExport } from "./publish-volume.ts";

const context = z.object({
  volumeId,
  /** Portals that the host no longer has and no session uses: the export ends there. Journals of before it could have none. */
  dropPortals: z.array(z.object({ address: z.string(), port: z.number() })).default([]),
});

/**
 * Brings back an export that the record has and the target host lost, as after its reboot: nothing of LIO is saved on the
 * host. It listens where the host does now: new portals are added, which disturbs no session. Forward only: taking an export away
 * again would shut out initiators that are entitled to it.
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
      await ensureExport(await deps.machines.get(volume.hostId), volume, await presentPortals(deps, volume), signal);
      return undefined;
    },
  },
  {
    name: "record portals",
    async do({ volumeId }, { deps }) {
      const volume = await deps.volumes.get(volumeId);
      const portals = await presentPortals(deps, volume);
      if (textOf(portals) !== textOf(volume.portals)) await deps.volumes.update(volumeId, { portals: portals.map((portal) => ({ ...portal })) });
      return undefined;
    },
  },
  {
    name: "remove old portals",
    async do({ volumeId, dropPortals }, { deps, signal }) {
      const volume = await deps.volumes.get(volumeId);
      const old = dropPortals.filter((portal) => !isAmong(volume.portals, portal));
      if (old.length === 0) return undefined;
      const { lio } = await deps.machines.get(volume.hostId);
      await lio.removePortals(parseIqn(volume.targetName), old.map((portal) => parsePortal(portal)), { signal });
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
