import { forward } from "@zfsilo/try";
import { z } from "zod";
import { findAttachment } from "./attachment.ts";
import { allowInitiator, findDevice, logInInitiator } from "./connect-volume.ts";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";

const context = z.object({ volumeId, hostId, device: z.string().optional() });

/** Logs an initiator in again that is recorded as connected and lost its session, as after its reboot. */
export const restoreSession = forward<z.infer<typeof context>, WorkflowDeps>("volume.restore-session", context, [
  {
    name: "let initiator in",
    async do(c, { deps, signal }) {
      const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
      await allowInitiator(await deps.machines.get(volume.hostId), volume, attachment, signal);
      return undefined;
    },
  },
  {
    name: "log in",
    async do(c, { deps, signal }) {
      const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
      await logInInitiator(await deps.machines.get(c.hostId), volume, attachment, signal);
      return undefined;
    },
  },
  {
    name: "wait for device",
    async do(c, { deps, signal }) {
      const volume = await deps.volumes.get(c.volumeId);
      const { path } = await findDevice(await deps.machines.get(c.hostId), volume, signal);
      return { device: path };
    },
  },
  {
    name: "record device",
    async do(c, { deps }) {
      await deps.volumes.updateAttachment(c.volumeId, c.hostId, { device: c.device ?? "" });
      return undefined;
    },
  },
]);
