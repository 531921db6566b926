import { parseHostPath } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { raiseGeneration, tellExport } from "./generation.ts";

const context = z.object({
  volumeId,
  hostId,
  stagingPath: z.string(),
  /** Whether there was something to unmount. An initiator that restarted has lost its mount, and not by unmounting. */
  mounted: z.boolean().optional(),
  generation: z.number().optional(),
});

/** Unmounts the staging path and removes it when it is empty. What somebody put beneath the mount stays, and changes nothing. */
export const unstageVolume = forward<z.infer<typeof context>, WorkflowDeps>("volume.unstage", context, [
  {
    name: "unmount staging path",
    async do({ volumeId, hostId, stagingPath }, { deps, signal, log }) {
      const volume = await deps.volumes.get(volumeId);
      if (volume.mode === "block") return undefined;
      const { mounts } = await deps.machines.get(hostId);
      const target = parseHostPath(stagingPath);
      const mounted = (await mounts.find(target, { signal })) !== undefined;
      await mounts.unmount(target, { signal });
      const outcome = await mounts.removeTarget(target, { signal });
      if (outcome === "kept") log.info({ stagingPath }, "the staging path has content: it stays");
      return { mounted };
    },
  },
  {
    name: "record unstaged",
    async do({ volumeId, hostId, mounted, generation }, io) {
      const { deps } = io;
      const volume = await raiseGeneration(deps, volumeId, generation);
      const { filesystem, attachments } = volume;
      const writable = attachments.some((attachment) => attachment.hostId === hostId && !attachment.readOnly);
      if (filesystem !== undefined && writable && mounted === false) {
        await deps.volumes.update(volumeId, { filesystem: { ...filesystem, unclean: true } });
      }
      await deps.volumes.updateAttachment(volumeId, hostId, { state: "connected", stagingPath: "", readOnly: false });
      await tellExport(volume, generation, io);
      return undefined;
    },
  },
]);
