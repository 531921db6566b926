import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  CreateSnapshotResponseSchema,
  DeleteSnapshotResponseSchema,
  GetSnapshotResponseSchema,
  HoldSnapshotResponseSchema,
  ListAllocatedRangesResponseSchema,
  ListChangedRangesResponseSchema,
  ListSnapshotsResponseSchema,
  ReleaseSnapshotResponseSchema,
  RollbackVolumeResponseSchema,
  type Snapshot,
  type SnapshotService,
} from "@zfsilo/api";
import { parseHoldTag } from "@zfsilo/host";
import type { SnapshotRecord } from "../store/model.ts";
import { allocatedRanges, changedRanges } from "../volume/ranges.ts";
import { requestRollback } from "../volume/rollback.ts";
import { visibleSnapshot, type SnapshotAnswer } from "../volume/snapshot-requests.ts";
import { requestCreateSnapshot, requestDeleteSnapshot, requestHold, requestRelease } from "../volume/snapshot.ts";
import type { RequestDeps } from "../volume/volume-requests.ts";
import { snapshotToMessage } from "./convert/snapshot.ts";
import { showVolume } from "./convert/volumes.ts";
import { parseSnapshotName, parseVolumeName } from "./field.ts";
import { parseClonePolicy, parseCreateSnapshot, parseRangesAsk } from "./snapshot-input.ts";
import { whileCalled } from "./while-called.ts";

export function snapshotService(deps: RequestDeps): ServiceImpl<typeof SnapshotService> {
  const messages = async (snapshots: readonly SnapshotRecord[]): Promise<Snapshot[]> => {
    const clones = await deps.volumes.clonesOf(snapshots.map(({ id }) => id));
    return snapshots.map((one) => snapshotToMessage(one, clones.get(one.id) ?? [], deps.operations.openOn(`snapshots/${one.id}`)));
  };
  const answer = async (work: Promise<SnapshotAnswer>, { signal }: HandlerContext): Promise<{ snapshot?: Snapshot; operation: string }> => {
    const { snapshot, operation } = await whileCalled(work, signal);
    const [message] = await messages([snapshot]);
    return { ...(message && { snapshot: message }), operation: operation === undefined ? "" : `operations/${operation}` };
  };

  return {
    async createSnapshot(request, context) {
      return create(CreateSnapshotResponseSchema, await answer(requestCreateSnapshot(deps, parseCreateSnapshot(request)), context));
    },

    async getSnapshot({ name }) {
      const [snapshot] = await messages([await visibleSnapshot(deps, parseSnapshotName(name, "name"))]);
      return create(GetSnapshotResponseSchema, snapshot && { snapshot });
    },

    async listSnapshots({ showTombstoned, ...request }) {
      const { items, nextPageToken } = await deps.snapshots.list(request, showTombstoned);
      return create(ListSnapshotsResponseSchema, { snapshots: await messages(items), nextPageToken });
    },

    async deleteSnapshot({ name, allowMissing, clonePolicy }, { signal }) {
      const id = parseSnapshotName(name, "name");
      const work = requestDeleteSnapshot(deps, id, { allowMissing, tombstone: parseClonePolicy(clonePolicy) });
      const operation = await whileCalled(work, signal);
      return create(DeleteSnapshotResponseSchema, { operation: operation === undefined ? "" : `operations/${operation}` });
    },

    async holdSnapshot({ name, tag }, context) {
      const id = parseSnapshotName(name, "name");
      return create(HoldSnapshotResponseSchema, await answer(requestHold(deps, id, parseHoldTag(tag)), context));
    },

    async releaseSnapshot({ name, tag }, context) {
      const id = parseSnapshotName(name, "name");
      return create(ReleaseSnapshotResponseSchema, await answer(requestRelease(deps, id, parseHoldTag(tag)), context));
    },

    async rollbackVolume({ name, snapshot, destroyLaterSnapshots, deleteForeignSnapshots }, { signal }) {
      const id = parseVolumeName(name, "name");
      const input = { snapshotId: parseSnapshotName(snapshot, "snapshot"), destroyLater: destroyLaterSnapshots, deleteForeign: deleteForeignSnapshots };
      const { volume, operation } = await whileCalled(requestRollback(deps, id, input), signal);
      return create(RollbackVolumeResponseSchema, {
        volume: await showVolume(deps, volume),
        operation: operation === undefined ? "" : `operations/${operation}`,
      });
    },

    async *listAllocatedRanges({ name, startOffset, maxRanges }, { signal }) {
      const ask = parseRangesAsk(startOffset, maxRanges);
      const { capacityBytes, batches } = await allocatedRanges(deps, parseSnapshotName(name, "name"), ask, signal);
      for await (const ranges of batches) yield create(ListAllocatedRangesResponseSchema, { capacityBytes, ranges: [...ranges] });
    },

    async *listChangedRanges({ base, target, startOffset, maxRanges }, { signal }) {
      const between = { base: parseSnapshotName(base, "base"), target: parseSnapshotName(target, "target") };
      const { capacityBytes, batches } = await changedRanges(deps, between, parseRangesAsk(startOffset, maxRanges), signal);
      for await (const ranges of batches) yield create(ListChangedRangesResponseSchema, { capacityBytes, ranges: [...ranges] });
    },
  };
}
