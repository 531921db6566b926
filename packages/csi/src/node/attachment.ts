import type { Attachment, Volume } from "@zfsilo/api";

export function attachmentOf(volume: Volume, host: string): Attachment | undefined {
  return volume.attachments.find((attachment) => attachment.host === host);
}

/** Whether a volume is staged or published at a path of this node. */
export function isShownAt(volume: Volume, host: string, path: string): boolean {
  const attachment = attachmentOf(volume, host);
  return attachment !== undefined && (attachment.stagingPath === path || attachment.targetPaths.includes(path));
}
