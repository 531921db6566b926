import type { Volume } from "@zfsilo/api";
import { attachmentOf } from "../volume.ts";

/** Whether a volume is staged or published at a path of this node. */
export function isShownAt(volume: Volume, host: string, path: string): boolean {
  const attachment = attachmentOf(volume, host);
  return attachment !== undefined && (attachment.stagingPath === path || attachment.targetPaths.includes(path));
}
