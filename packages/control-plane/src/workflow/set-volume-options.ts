import { parseZfsOptions } from "@zfsilo/host";
import { forward } from "@zfsilo/try";
import { z } from "zod";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { getOwnZvol } from "./ownership.ts";
import { namingOption } from "./zfs-options.ts";

const context = z.object({ volumeId, zfsOptions: z.record(z.string(), z.string()) });

/** Changes ZFS options of a living volume. Data already written keeps the way it was written. */
export const setVolumeOptions = forward<z.infer<typeof context>, WorkflowDeps>("volume.set-options", context, [
  {
    name: "set properties",
    async do({ volumeId, zfsOptions }, { deps, signal }) {
      const volume = await deps.volumes.get(volumeId);
      const machine = await deps.machines.get(volume.hostId);
      const { dataset } = await getOwnZvol(machine, volume, deps, signal);
      await namingOption(() => machine.zfs.setProperties(dataset, parseZfsOptions(zfsOptions), {}, { signal }));
      return undefined;
    },
  },
  {
    name: "record options",
    async do({ volumeId, zfsOptions }, { deps }) {
      const volume = await deps.volumes.get(volumeId);
      await deps.volumes.update(volumeId, { zfsOptions: { ...volume.zfsOptions, ...zfsOptions } });
      return undefined;
    },
  },
]);
