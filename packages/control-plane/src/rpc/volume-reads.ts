import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  GetVolumeResponseSchema,
  ListVolumesResponseSchema,
  StatsVolumeResponseSchema,
  SyncVolumeResponseSchema,
  SyncVolumesResponseSchema,
  VolumeDifferencesSchema,
  type VolumeDifferences,
  type VolumeService,
} from "@zfsilo/api";
import type { VolumeId } from "@zfsilo/lib";
import type { Finding } from "../reconcile/findings.ts";
import type { Reconciler } from "../reconcile/reconciler.ts";
import { dependantsOf, namesOf } from "../volume/dependants.ts";
import { volumeStats } from "../volume/stats.ts";
import { readyVolume, type RequestDeps } from "../volume/volume-requests.ts";
import { countOutcome, findingToMessage } from "./convert/finding.ts";
import { showVolume, showVolumes } from "./convert/volumes.ts";
import { parseVolumeName } from "./field.ts";
import { parseAcceptance } from "./volume-input.ts";
import { pageOf, parsePage } from "./page.ts";
import { whileCalled } from "./while-called.ts";

type Reads = "getVolume" | "listVolumes" | "statsVolume" | "syncVolume" | "syncVolumes";

export interface VolumeReadDeps extends RequestDeps {
  readonly reconciler: Pick<Reconciler, "volume" | "cycle">;
}

/** The calls that tell what is there. Of these only the two that synchronise change hosts, back to what is recorded. */
export function volumeReads(deps: VolumeReadDeps): Pick<ServiceImpl<typeof VolumeService>, Reads> {
  return {
    async getVolume({ name }) {
      const volume = await readyVolume(deps, parseVolumeName(name, "name"));
      const dependants = namesOf(await dependantsOf(deps, volume));
      return create(GetVolumeResponseSchema, { volume: { ...(await showVolume(deps, volume)), dependants } });
    },

    async listVolumes(request) {
      const { items, nextPageToken } = await deps.volumes.list(request);
      return create(ListVolumesResponseSchema, { volumes: await showVolumes(deps, items), nextPageToken });
    },

    async statsVolume({ name }, { signal }) {
      const volume = await readyVolume(deps, parseVolumeName(name, "name"));
      const { zvol, filesystems } = await volumeStats(deps, volume, signal);
      return create(StatsVolumeResponseSchema, {
        zvol,
        filesystems: filesystems.map(({ hostId, ...stats }) => ({ host: `hosts/${hostId}`, ...stats })),
      });
    },

    async syncVolume({ name, reportOnly, accept }, { signal }) {
      const recorded = await readyVolume(deps, parseVolumeName(name, "name"));
      const { volume, findings } = await whileCalled(deps.reconciler.volume(recorded, { reportOnly, acceptRecord: parseAcceptance(accept, reportOnly) }, signal), signal);
      return create(SyncVolumeResponseSchema, {
        volume: await showVolume(deps, volume),
        differences: findings.map(findingToMessage),
        repaired: countOutcome(findings, "repaired"),
        left: countOutcome(findings, "left"),
      });
    },

    async syncVolumes(request, { signal }) {
      const { filter, reportOnly } = request;
      const asked = parsePage(request);
      const volumes: VolumeDifferences[] = [];
      const onVolume = (id: VolumeId, findings: readonly Finding[]): void => {
        volumes.push(create(VolumeDifferencesSchema, { name: `volumes/${id}`, differences: findings.map(findingToMessage) }));
      };
      const { checked, repaired, left, unreachable } = await deps.reconciler.cycle({ filter, reportOnly, eager: true, onVolume }, signal);
      const { page, nextPageToken } = pageOf(VolumeDifferencesSchema, volumes, ({ name }) => name, asked);
      return create(SyncVolumesResponseSchema, {
        checked: BigInt(checked),
        repaired: BigInt(repaired),
        left: BigInt(left),
        volumes: page,
        nextPageToken,
        unreachableHosts: unreachable.map((id) => `hosts/${id}`),
      });
    },
  };
}
