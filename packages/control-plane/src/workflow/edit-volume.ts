import { forward } from "@zfsilo/try";
import { z } from "zod";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { requireFilesystem } from "./format.ts";

const edit = z.object({
  displayName: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  mountOptions: z.array(z.string()).optional(),
});

export type Edit = z.infer<typeof edit>;

const context = z.object({ volumeId, edit });

/**
 * Changes fields that only the record has. An operation all the same, so that the journal tells of every change to a volume:
 * a repeated call is known by it. Mount options are for the next mount.
 */
export const editVolume = forward<z.infer<typeof context>, WorkflowDeps>("volume.edit", context, [
  {
    name: "record fields",
    async do({ volumeId, edit: { displayName, labels, mountOptions } }, { deps }) {
      const volume = await deps.volumes.get(volumeId);
      await deps.volumes.update(volumeId, {
        ...(displayName === undefined ? {} : { displayName }),
        ...(labels === undefined ? {} : { labels }),
        ...(mountOptions === undefined ? {} : { filesystem: { ...requireFilesystem(volume), mountOptions } }),
      });
      return undefined;
    },
  },
]);
