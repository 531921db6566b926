import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  AdoptVolumeResponseSchema,
  ConnectVolumeResponseSchema,
  CreateVolumeResponseSchema,
  DeleteVolumeResponseSchema,
  DisconnectVolumeResponseSchema,
  LoadKeyResponseSchema,
  MountVolumeResponseSchema,
  PlacementCandidateSchema,
  PublishVolumeResponseSchema,
  StageVolumeResponseSchema,
  UnloadKeyResponseSchema,
  UnmountVolumeResponseSchema,
  UnpublishVolumeResponseSchema,
  UnstageVolumeResponseSchema,
  UpdateVolumeResponseSchema,
  type PlacementCandidate,
  type Volume,
  type VolumeService,
} from "@zfsilo/api";
import { requestAdopt } from "../volume/adopt.ts";
import type { Answer } from "../volume/answer.ts";
import { requestConnect, requestDisconnect } from "../volume/connect.ts";
import { requestCopy } from "../volume/copy.ts";
import { requestCreate } from "../volume/create.ts";
import { requestDelete } from "../volume/delete.ts";
import { requestPublish, requestUnpublish } from "../volume/export.ts";
import { requestLoadKey, requestUnloadKey } from "../volume/keys.ts";
import { requestMount, requestStage, requestUnmount, requestUnstage } from "../volume/stage.ts";
import { requestUpdate } from "../volume/update.ts";
import { parseAdoptVolume } from "./adopt-input.ts";
import { showVolume } from "./convert/volumes.ts";
import { parseCopyVolume } from "./copy-input.ts";
import { parseHostName, parseVolumeName } from "./field.ts";
import { givenKey, parseCreateVolume, parseSnapshotPolicy, parseUpdateVolume } from "./volume-input.ts";
import { volumeReads, type VolumeReadDeps } from "./volume-reads.ts";
import { whileCalled } from "./while-called.ts";

interface Answered {
  readonly volume: Volume;
  readonly operation: string;
  /** Only CreateVolume has any. */
  readonly placement: PlacementCandidate[];
}

/** Checks what was asked, hands it on, and answers in API messages. What is done is decided in volume/ and workflow/. */
export function volumeService(deps: VolumeReadDeps): ServiceImpl<typeof VolumeService> {
  /** A caller that goes away, or whose deadline passes, stops waiting; the operation goes on (I7). */
  const answer = async (work: Promise<Answer>, { signal }: HandlerContext): Promise<Answered> => {
    const { volume, operation, placement = [] } = await whileCalled(work, signal);
    return {
      volume: await showVolume(deps, volume),
      operation: operation === undefined ? "" : `operations/${operation}`,
      placement: placement.map(({ hostId, pool, parentDataset, score, reasons }) =>
        create(PlacementCandidateSchema, { host: `hosts/${hostId}`, pool, parentDataset, score, reasons: [...reasons] }),
      ),
    };
  };

  return {
    ...volumeReads(deps),

    async createVolume(request, context) {
      const { volume } = request;
      const work =
        volume?.source === undefined
          ? requestCreate(deps, parseCreateVolume(request), givenKey(request.encryptionKey))
          : requestCopy(deps, parseCopyVolume(request, volume));
      return create(CreateVolumeResponseSchema, await answer(work, context));
    },

    async adoptVolume(request, context) {
      const { volume, operation } = await answer(requestAdopt(deps, parseAdoptVolume(request)), context);
      return create(AdoptVolumeResponseSchema, { volume, operation });
    },

    async updateVolume(request, context) {
      const id = parseVolumeName(request.volume?.name ?? "", "volume.name");
      return create(UpdateVolumeResponseSchema, await answer(requestUpdate(deps, id, parseUpdateVolume(request)), context));
    },

    async deleteVolume(request, { signal }) {
      const id = parseVolumeName(request.name, "name");
      const options = { snapshotPolicy: parseSnapshotPolicy(request.snapshotPolicy), deleteForeign: request.deleteForeignSnapshots };
      const operation = await whileCalled(requestDelete(deps, id, request.allowMissing, options), signal);
      return create(DeleteVolumeResponseSchema, { operation: operation === undefined ? "" : `operations/${operation}` });
    },

    async loadKey(request, context) {
      const id = parseVolumeName(request.name, "name");
      return create(LoadKeyResponseSchema, await answer(requestLoadKey(deps, id, givenKey(request.encryptionKey)), context));
    },

    async unloadKey(request, context) {
      const id = parseVolumeName(request.name, "name");
      return create(UnloadKeyResponseSchema, await answer(requestUnloadKey(deps, id), context));
    },

    async publishVolume(request, context) {
      const id = parseVolumeName(request.name, "name");
      return create(PublishVolumeResponseSchema, await answer(requestPublish(deps, id), context));
    },

    async unpublishVolume(request, context) {
      const id = parseVolumeName(request.name, "name");
      return create(UnpublishVolumeResponseSchema, await answer(requestUnpublish(deps, id), context));
    },

    async connectVolume(request, context) {
      const id = parseVolumeName(request.name, "name");
      const host = parseHostName(request.host, "host");
      return create(ConnectVolumeResponseSchema, await answer(requestConnect(deps, id, host, request.readOnly), context));
    },

    async disconnectVolume(request, context) {
      const id = parseVolumeName(request.name, "name");
      const host = parseHostName(request.host, "host");
      const work = requestDisconnect(deps, id, host, request.force);
      return create(DisconnectVolumeResponseSchema, await answer(work, context));
    },

    async stageVolume(request, context) {
      const id = parseVolumeName(request.name, "name");
      const { stagingPath, readOnly } = request;
      const input = { hostId: parseHostName(request.host, "host"), stagingPath, readOnly };
      return create(StageVolumeResponseSchema, await answer(requestStage(deps, id, input), context));
    },

    async unstageVolume(request, context) {
      const id = parseVolumeName(request.name, "name");
      const host = parseHostName(request.host, "host");
      return create(UnstageVolumeResponseSchema, await answer(requestUnstage(deps, id, host), context));
    },

    async mountVolume(request, context) {
      const id = parseVolumeName(request.name, "name");
      const { targetPath, readOnly } = request;
      const input = { hostId: parseHostName(request.host, "host"), targetPath, readOnly };
      return create(MountVolumeResponseSchema, await answer(requestMount(deps, id, input), context));
    },

    async unmountVolume(request, context) {
      const id = parseVolumeName(request.name, "name");
      const host = parseHostName(request.host, "host");
      const work = requestUnmount(deps, id, host, request.targetPath);
      return create(UnmountVolumeResponseSchema, await answer(work, context));
    },
  };
}
