import { parseDatasetName } from "@zfsilo/host";
import { bystander, capacityBytes, copy, first, give, group, stagingPathOf, subject, targetPathOf } from "../world/ladder.ts";
import type { World } from "../world/world.ts";
import type { ApiCall } from "./child.ts";

const name = `volumes/${subject}`;
const host = "hosts/hst_take";
const onVolume = (method: string, message: object = {}): ApiCall => ({ method: `VolumeService/${method}`, message: { name, ...message } });

const snapshot = `snapshots/${first}`;
const onSnapshot = (method: string, message: object = {}): ApiCall => ({ method: `SnapshotService/${method}`, message: { name: snapshot, ...message } });
const cloneOf = (source: object): ApiCall => ({
  method: "VolumeService/CreateVolume",
  message: {
    volumeId: copy,
    volume: { source, capacityBytes: (capacityBytes + (512n << 20n)).toString(), zfsOptions: { compression: "zstd" } },
  },
});

/** The call of the API that runs each workflow, on the ground that the case of the same name prepares. */
export const apiCalls: Readonly<Record<string, ApiCall | ((world: World) => Promise<ApiCall>)>> = {
  async "adopt a zvol that was restored"(world) {
    const { dataset } = await world.now.stores.volumes.get(subject);
    const { zfs } = await world.requests.machines.get(give);
    const { guid } = await zfs.getVolume(parseDatasetName(dataset), { signal: new AbortController().signal });
    return { method: "VolumeService/AdoptVolume", message: { volumeId: subject, host: "hosts/hst_give", dataset, guid, replaceMarks: true } };
  },
  create: {
    method: "VolumeService/CreateVolume",
    message: {
      volumeId: subject,
      volume: {
        host: "hosts/hst_give",
        labels: { team: "storage" },
        capacityBytes: capacityBytes.toString(),
        sparse: true,
        zfsOptions: { compression: "lz4" },
        mode: "VOLUME_MODE_FILESYSTEM",
        filesystem: { type: "ext4", mountOptions: ["noatime"] },
        authentication: "AUTHENTICATION_MUTUAL_CHAP",
      },
    },
  },
  "unload the key": onVolume("UnloadKey"),
  "load the key": onVolume("LoadKey", { encryptionKey: Buffer.alloc(32, 0x5a).toString("base64") }),
  publish: onVolume("PublishVolume"),
  "connect (ext4)": onVolume("ConnectVolume", { host }),
  "stage for the first time (ext4)": onVolume("StageVolume", { host, stagingPath: stagingPathOf(subject) }),
  "mount (ext4)": onVolume("MountVolume", { host, targetPath: targetPathOf(subject) }),
  "expand when mounted (ext4)": {
    method: "VolumeService/UpdateVolume",
    message: { volume: { name, capacityBytes: (capacityBytes + (512n << 20n)).toString() }, updateMask: "capacityBytes" },
  },
  "set options": {
    method: "VolumeService/UpdateVolume",
    message: { volume: { name, zfsOptions: { compression: "zstd" } }, updateMask: "zfsOptions" },
  },
  "edit fields": {
    method: "VolumeService/UpdateVolume",
    message: {
      volume: { name, displayName: "Ledger", labels: { team: "books" }, filesystem: { mountOptions: ["noatime", "nodev"] } },
      updateMask: "displayName,labels,filesystem.mountOptions",
    },
  },
  "restore the export after a power cut": onVolume("PublishVolume"),
  "restore the session after a power cut": onVolume("ConnectVolume", { host }),
  "restore the mounts after a power cut (ext4)": onVolume("MountVolume", { host, targetPath: targetPathOf(subject) }),
  "shut a stranger out": onVolume("SyncVolume"),
  "clean an initiator that returns after a fence (ext4)": { method: "VolumeService/SyncVolumes", message: {} },
  "unmount (ext4)": onVolume("UnmountVolume", { host, targetPath: targetPathOf(subject) }),
  "unstage (ext4)": onVolume("UnstageVolume", { host }),
  "disconnect (ext4)": onVolume("DisconnectVolume", { host }),
  unpublish: onVolume("UnpublishVolume"),
  delete: onVolume("DeleteVolume"),
  "take a snapshot": {
    method: "SnapshotService/CreateSnapshot",
    message: { snapshotId: first, snapshot: { volume: name, labels: { team: "storage" } } },
  },
  "delete a snapshot": onSnapshot("DeleteSnapshot"),
  "hide a snapshot that has a clone": onSnapshot("DeleteSnapshot", { clonePolicy: "CLONE_POLICY_TOMBSTONE" }),
  "hold a snapshot": onSnapshot("HoldSnapshot", { tag: "backup" }),
  "release a snapshot": onSnapshot("ReleaseSnapshot", { tag: "backup" }),
  "roll back": { method: "SnapshotService/RollbackVolume", message: { name, snapshot, destroyLaterSnapshots: true } },
  "take a group of snapshots": {
    method: "GroupSnapshotService/CreateGroupSnapshot",
    message: { groupSnapshotId: group, groupSnapshot: { volumes: [name, `volumes/${bystander}`] } },
  },
  "delete a group of snapshots": { method: "GroupSnapshotService/DeleteGroupSnapshot", message: { name: `groupSnapshots/${group}` } },
  "clone a snapshot": cloneOf({ snapshot }),
  "clone a volume": cloneOf({ volume: name }),
  "take a snapshot of a frozen filesystem": {
    method: "SnapshotService/CreateSnapshot",
    message: { snapshotId: first, snapshot: { volume: name, labels: { team: "storage" }, consistency: "CONSISTENCY_FILESYSTEM" } },
  },
  "take a group of snapshots of frozen filesystems": {
    method: "GroupSnapshotService/CreateGroupSnapshot",
    message: {
      groupSnapshotId: group,
      groupSnapshot: { volumes: [name, `volumes/${bystander}`], consistency: "CONSISTENCY_FILESYSTEM" },
    },
  },
  "copy a snapshot": cloneOf({ snapshot, copyMode: "COPY_MODE_FULL" }),
  "copy a volume": cloneOf({ volume: name, copyMode: "COPY_MODE_FULL" }),
  "delete with its snapshots": onVolume("DeleteVolume", { snapshotPolicy: "SNAPSHOT_POLICY_DELETE" }),
  "delete by handing its snapshots to a clone": onVolume("DeleteVolume", { snapshotPolicy: "SNAPSHOT_POLICY_PROMOTE_CLONE" }),
  "delete the clone that kept a tombstone": { method: "VolumeService/DeleteVolume", message: { name: `volumes/${copy}` } },
};
