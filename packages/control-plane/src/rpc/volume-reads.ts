import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  GetVolumeResponseSchema,
  ListVolumesResponseSchema,
  StatsVolumeResponseSchema,
  SyncVolumeResponseSchema,
  SyncVolumesResponseSchema,
  type VolumeService,
} from "@zfsilo/api";
import { compareMany, compareOne } from "../reconcile/compare-volumes.ts";
import { volumeStats } from "../volume/stats.ts";
import { readyVolume, type RequestDeps } from "../volume/volume-requests.ts";
import { volumeToMessage } from "./convert/volume.ts";
import { parseVolumeName } from "./field.ts";

type Reads = "getVolume" | "listVolumes" | "statsVolume" | "syncVolume" | "syncVolumes";

/** The calls that change nothing on hosts. */
export function volumeReads(deps: RequestDeps): Pick<ServiceImpl<typeof VolumeService>, Reads> {
  const message = (volume: Parameters<typeof volumeToMessage>[0]) =>
    volumeToMessage(volume, deps.operations.openOn(`volumes/${volume.id}`));

  return {
    async getVolume({ name }) {
      const volume = await readyVolume(deps, parseVolumeName(name, "name"));
      return create(GetVolumeResponseSchema, { volume: message(volume) });
    },

    async listVolumes(request) {
      const { items, nextPageToken } = await deps.volumes.list(request);
      return create(ListVolumesResponseSchema, { volumes: items.map(message), nextPageToken });
    },

    async statsVolume({ name }, { signal }) {
      const volume = await readyVolume(deps, parseVolumeName(name, "name"));
      const { zvol, filesystems } = await volumeStats(deps, volume, signal);
      return create(StatsVolumeResponseSchema, {
        zvol,
        filesystems: filesystems.map(({ hostId, ...stats }) => ({ host: `hosts/${hostId}`, ...stats })),
      });
    },

    async syncVolume({ name }, { signal }) {
      const id = parseVolumeName(name, "name");
      const { volume, differences } = await compareOne(deps, await readyVolume(deps, id), signal);
      return create(SyncVolumeResponseSchema, { volume: message(volume), differences: [...differences] });
    },

    async syncVolumes({ filter }, { signal }) {
      const { checked, volumes, unreachable } = await compareMany(deps, filter, signal);
      return create(SyncVolumesResponseSchema, {
        checked: BigInt(checked),
        volumes: volumes.map(({ id, differences }) => ({ name: `volumes/${id}`, differences: [...differences] })),
        unreachableHosts: unreachable.map((id) => `hosts/${id}`),
      });
    },
  };
}
