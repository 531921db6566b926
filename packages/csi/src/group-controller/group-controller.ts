import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { csi, type GroupSnapshot } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import type { ControlPlane } from "../control-plane.ts";
import { parseSnapshotParameters } from "../controller/parameters.ts";
import { consistencies, snapshotToCsi } from "../controller/snapshots.ts";
import { checkId, checkName, groupName, idForName, idOf, isId, requireText, volumeName } from "../names.ts";

const { GroupControllerServiceCapability_RPC_Type: Rpc } = csi;

export function groupController(controlPlane: ControlPlane): ServiceImpl<typeof csi.GroupController> {
  const { groups } = controlPlane;
  return {
    groupControllerGetCapabilities() {
      const type = Rpc.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT;
      return create(csi.GroupControllerGetCapabilitiesResponseSchema, {
        capabilities: [{ type: { case: "rpc", value: { type } } }],
      });
    },

    async createVolumeGroupSnapshot(request, { signal }) {
      const name = checkName(request.name);
      if (request.sourceVolumeIds.length === 0) throw new StorageError("invalid_argument", "source_volume_ids: is required");
      const volumes = request.sourceVolumeIds.map((id) => volumeName(checkId(id, "source_volume_ids")));
      const { consistency, labels } = parseSnapshotParameters(request.parameters);
      const groupSnapshot = { volumes, displayName: name, labels, consistency: consistencies[consistency] };
      const made = await groups.createGroupSnapshot({ groupSnapshotId: idForName(name), groupSnapshot }, { signal });
      return create(csi.CreateVolumeGroupSnapshotResponseSchema, {
        groupSnapshot: await groupToCsi(controlPlane, made.groupSnapshot, signal),
      });
    },

    async deleteVolumeGroupSnapshot({ groupSnapshotId }, { signal }) {
      requireText(groupSnapshotId, "group_snapshot_id");
      if (isId(groupSnapshotId)) {
        await groups.deleteGroupSnapshot({ name: groupName(groupSnapshotId), allowMissing: true }, { signal });
      }
      return create(csi.DeleteVolumeGroupSnapshotResponseSchema);
    },

    async getVolumeGroupSnapshot({ groupSnapshotId }, { signal }) {
      const name = groupName(checkId(groupSnapshotId, "group_snapshot_id"));
      const { groupSnapshot } = await groups.getGroupSnapshot({ name }, { signal });
      return create(csi.GetVolumeGroupSnapshotResponseSchema, {
        groupSnapshot: await groupToCsi(controlPlane, groupSnapshot, signal),
      });
    },
  };
}

async function groupToCsi(
  { snapshots }: ControlPlane,
  group: GroupSnapshot | undefined,
  signal: AbortSignal,
): Promise<csi.VolumeGroupSnapshot> {
  if (group === undefined) throw new StorageError("internal", "the control plane answered without a group");
  const members = await Promise.all(
    group.snapshots.map(async (name) => (await snapshots.getSnapshot({ name }, { signal })).snapshot),
  );
  return create(csi.VolumeGroupSnapshotSchema, {
    groupSnapshotId: idOf(group.name),
    snapshots: members.flatMap((member) => (member === undefined ? [] : [snapshotToCsi(member)])),
    readyToUse: true,
    ...(group.createTime && { creationTime: group.createTime }),
  });
}
