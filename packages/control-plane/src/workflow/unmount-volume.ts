import { parseHostPath } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { raiseGeneration, tellExport } from "./generation.ts";
import { removeTargetPath } from "./mount-volume.ts";

const context = z.object({ volumeId, hostId, targetPath: z.string(), generation: z.number().optional() });

/** Unmounts one target path and removes it when it is empty. What somebody put beneath the mount stays, and changes nothing. */
export const unmountVolume = forward<z.infer<typeof context>, WorkflowDeps>("volume.unmount", context, [
  {
    name: "unmount target path",
    async do({ hostId, targetPath }, { deps, signal, log }) {
      const { mounts } = await deps.machines.get(hostId);
      const target = parseHostPath(targetPath);
      await mounts.unmount(target, { signal });
      const outcome = await mounts.removeTarget(target, { signal });
      if (outcome === "kept") log.info({ targetPath }, "the target path has content: it stays");
      return undefined;
    },
  },
  {
    name: "record unmounted",
    async do(c, io) {
      const volume = await raiseGeneration(io.deps, c.volumeId, c.generation);
      await removeTargetPath(c, io.deps);
      await tellExport(volume, c.generation, io);
      return undefined;
    },
  },
]);
