import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  CreateGroupSnapshotResponseSchema,
  DeleteGroupSnapshotResponseSchema,
  GetGroupSnapshotResponseSchema,
  ListGroupSnapshotsResponseSchema,
  type GroupSnapshot,
  type GroupSnapshotService,
} from "@zfsilo/api";
import type { GroupSnapshotRecord } from "../store/model.ts";
import { readyGroup, requestCreateGroupSnapshot, requestDeleteGroupSnapshot } from "../volume/group-snapshot.ts";
import type { RequestDeps } from "../volume/volume-requests.ts";
import { groupSnapshotToMessage } from "./convert/snapshot.ts";
import { parseGroupSnapshotName } from "./field.ts";
import { parseCreateGroupSnapshot } from "./snapshot-input.ts";
import { whileCalled } from "./while-called.ts";

export function groupSnapshotService(deps: RequestDeps): ServiceImpl<typeof GroupSnapshotService> {
  const message = (group: GroupSnapshotRecord): GroupSnapshot =>
    groupSnapshotToMessage(group, deps.operations.openOn(`groupSnapshots/${group.id}`));

  return {
    async createGroupSnapshot(request, { signal }) {
      const work = requestCreateGroupSnapshot(deps, parseCreateGroupSnapshot(request));
      const { group, operation } = await whileCalled(work, signal);
      return create(CreateGroupSnapshotResponseSchema, {
        groupSnapshot: message(group),
        operation: operation === undefined ? "" : `operations/${operation}`,
      });
    },

    async getGroupSnapshot({ name }) {
      const group = await readyGroup(deps, parseGroupSnapshotName(name, "name"));
      return create(GetGroupSnapshotResponseSchema, { groupSnapshot: message(group) });
    },

    async listGroupSnapshots(request) {
      const { items, nextPageToken } = await deps.groups.list(request);
      return create(ListGroupSnapshotsResponseSchema, { groupSnapshots: items.map(message), nextPageToken });
    },

    async deleteGroupSnapshot({ name, allowMissing }, { signal }) {
      const work = requestDeleteGroupSnapshot(deps, parseGroupSnapshotName(name, "name"), allowMissing);
      const operation = await whileCalled(work, signal);
      return create(DeleteGroupSnapshotResponseSchema, { operation: operation === undefined ? "" : `operations/${operation}` });
    },
  };
}
