import { parseDatasetName, parseHostPath } from "@zfsilo/host";
import { reasonOf } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import { volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";

const context = z.object({
  volumeId,
  /** The dataset whose key it is. */
  root: z.string(),
  /** Empty: the key came with the call. */
  keyFile: z.string(),
});

type Context = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/** Loads the key of a locked volume, so that its device is there again. After a crash it is locked as before: its key is gone too. */
export const loadKey = buildUp<Context, WorkflowDeps>("volume.load-key", context, [
  { name: "load key", do: load, undo: unload },
  { name: "wait for device", do: awaitDevice },
  { name: "record key status", do: record, undo: forget },
]);

async function load(c: Context, { deps, signal }: Io): Promise<undefined> {
  const { hostId } = await deps.volumes.get(c.volumeId);
  const { keys } = await deps.machines.get(hostId);
  const key = c.keyFile === "" ? { hex: deps.keys.get(c.volumeId) } : { file: parseHostPath(c.keyFile, "keylocation") };
  await keys.load(parseDatasetName(c.root), key, { signal });
}

async function unload(c: Context, { deps, signal }: Io): Promise<void> {
  const { hostId } = await deps.volumes.get(c.volumeId);
  const { keys } = await deps.machines.get(hostId);
  try {
    await keys.unload(parseDatasetName(c.root), { signal });
  } catch (error) {
    // A clone that shares the key is in use by now: then it stays loaded.
    if (reasonOf(error) !== "busy") throw error;
  }
}

async function awaitDevice(c: Context, { deps, signal }: Io): Promise<undefined> {
  const { hostId, dataset } = await deps.volumes.get(c.volumeId);
  const { devices } = await deps.machines.get(hostId);
  await devices.awaitZvolDevice(parseDatasetName(dataset), { signal });
}

async function record(c: Context, { deps }: Io): Promise<undefined> {
  await setLocked(c, deps, false);
}

async function forget(c: Context, { deps }: Io): Promise<void> {
  await setLocked(c, deps, true);
}

async function setLocked({ volumeId: id }: Pick<Context, "volumeId">, { volumes }: WorkflowDeps, locked: boolean): Promise<void> {
  const { encryption, condition } = await volumes.get(id);
  await volumes.update(id, {
    ...(encryption === undefined ? {} : { encryption: { ...encryption, locked } }),
    // With the key comes an end to that; what else is wrong is for the next look to say.
    ...(!locked && condition?.reason === "VOLUME_LOCKED" ? { condition: undefined } : {}),
  });
}
