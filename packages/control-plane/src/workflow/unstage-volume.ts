import { parseHostPath } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";

const context = z.object({ volumeId, hostId, stagingPath: z.string() });

/** Unmounts the staging path and removes it when it is empty. */
export const unstageVolume = forward<z.infer<typeof context>, WorkflowDeps>("volume.unstage", context, [
  {
    name: "unmount staging path",
    async do({ volumeId, hostId, stagingPath }, { deps, signal }) {
      const volume = await deps.volumes.get(volumeId);
      if (volume.mode === "block") return undefined;
      const { mounts } = await deps.machines.get(hostId);
      const target = parseHostPath(stagingPath);
      await mounts.unmount(target, { signal });
      await mounts.removeTarget(target, { signal });
      return undefined;
    },
  },
  {
    name: "record unstaged",
    async do({ volumeId, hostId }, { deps }) {
      await deps.volumes.updateAttachment(volumeId, hostId, { state: "connected", stagingPath: "", readOnly: false });
      return undefined;
    },
  },
]);
