import { parseGroupSnapshotId, parseHostId, parseSnapshotHandle, parseSnapshotId, parseVolumeHandle, parseVolumeId } from "@zfsilo/lib";
import { z } from "zod";

/** Ids as they come back from a journal. */
export const volumeId = z.string().transform(parseVolumeId);
export const hostId = z.string().transform(parseHostId);
export const volumeHandle = z.string().transform(parseVolumeHandle);
export const snapshotId = z.string().transform(parseSnapshotId);
export const groupSnapshotId = z.string().transform(parseGroupSnapshotId);
export const snapshotHandle = z.string().transform(parseSnapshotHandle);
