import { create } from "@bufbuild/protobuf";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import { csi, type GroupSnapshot } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import type { ControlPlane } from "../control-plane.ts";
import { answered } from "../control-plane-error.ts";
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

    async deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds }, { signal }) {
      requireText(groupSnapshotId, "group_snapshot_id");
      if (isId(groupSnapshotId)) {
        const group = await findGroup(controlPlane, groupSnapshotId, signal);
        if (group !== undefined) requireMembers(group, snapshotIds);
        await groups.deleteGroupSnapshot({ name: groupName(groupSnapshotId), allowMissing: true }, { signal });
      }
      return create(csi.DeleteVolumeGroupSnapshotResponseSchema);
    },

    async getVolumeGroupSnapshot({ groupSnapshotId, snapshotIds }, { signal }) {
      const name = groupName(checkId(groupSnapshotId, "group_snapshot_id"));
      const { groupSnapshot } = await groups.getGroupSnapshot({ name }, { signal });
      if (groupSnapshot !== undefined) requireMembers(groupSnapshot, snapshotIds);
      return create(csi.GetVolumeGroupSnapshotResponseSchema, {
        groupSnapshot: await groupToCsi(controlPlane, groupSnapshot, signal),
      });
    },
  };
}

async function findGroup({ groups }: ControlPlane, id: string, signal: AbortSignal): Promise<GroupSnapshot | undefined> {
  try {
    return (await groups.getGroupSnapshot({ name: groupName(id) }, { signal })).groupSnapshot;
  } catch (error) {
    if (answered(error, Code.NotFound)) return undefined;
    throw error;
  }
}

/** CSI spec, "DeleteVolumeGroupSnapshot" and "GetVolumeGroupSnapshot": a mismatch that can be told is INVALID_ARGUMENT. */
function requireMembers({ name, snapshots }: GroupSnapshot, snapshotIds: readonly string[]): void {
  if (snapshotIds.length === 0) return;
  const members = new Set(snapshots.map(idOf));
  const strangers = snapshotIds.filter((id) => !members.has(id));
  const missing = [...members].filter((id) => !snapshotIds.includes(id));
  if (strangers.length === 0 && missing.length === 0) return;
  const problems = [...strangers.map((id) => `${id} is not in it`), ...missing.map((id) => `${id} is in it, too`)];
  throw new StorageError("invalid_argument", `snapshot_ids: are not those of ${name}: ${problems.join(", ")}`, {
    details: { field: "snapshot_ids" },
  });
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
