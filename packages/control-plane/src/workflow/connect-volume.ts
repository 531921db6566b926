import { randomBytes } from "node:crypto";
import { CommandError } from "@zfsilo/command";
import { formatPortal, parseIqn, parsePortal, type BlockDevice, type Chap, type Portal } from "@zfsilo/host";
import { bytes, errorChain, reasonOf, Secret, StorageError } from "@zfsilo/lib";
import { buildUp, type StepIo } from "@zfsilo/try";
import { z } from "zod";
import type { Machine } from "../machines/machines.ts";
import type { AttachmentRecord, AuthenticationMode, ChapRecord, PortalRef, VolumeRecord } from "../store/model.ts";
import { findAttachment } from "./attachment.ts";
import { hostId, volumeId } from "./context.ts";
import type { WorkflowDeps } from "./deps.ts";
import { markFor } from "./generation.ts";
import { portalsToTry } from "./portals.ts";
import { rememberLeftover, removeStaleSession } from "./stale-session.ts";

const context = z.object({
  volumeId,
  hostId,
  /** Read before the first step, so that shutting the initiator out again never has to ask it. */
  initiatorIqn: z.string(),
  generation: z.number(),
  /** The target refuses its writes. Journals of before it could have none. */
  readOnly: z.boolean().default(false),
  device: z.string().optional(),
});

export type ConnectVolumeContext = z.infer<typeof context>;
type Io = StepIo<WorkflowDeps>;

/**
 * I/O to a lost session waits this long for it to come back, and then fails. A storage server may take minutes to boot
 * (docs/decisions/0005-replacement-timeout.md); after a fence nothing waits, since the session is logged out.
 */
const replacementTimeoutSeconds = 600;

/**
 * Lets one initiator in with a secret of its own, logs it in, and waits until its device is there with the right serial
 * and size. A failure or crash logs it out and shuts it out again.
 */
export const connectVolume = buildUp<ConnectVolumeContext, WorkflowDeps>("volume.connect", context, [
  { name: "record attachment", do: recordAttachment, undo: forgetAttachment },
  { name: "let initiator in", do: letIn, undo: shutOut },
  { name: "log in", do: logIn, undo: logOut, drop: leave },
  { name: "wait for device", do: awaitDevice },
  { name: "record connected", do: recordConnected },
]);

async function recordAttachment(c: ConnectVolumeContext, { deps }: Io): Promise<undefined> {
  const volume = await deps.volumes.get(c.volumeId);
  const attachment: AttachmentRecord = {
    volumeId: c.volumeId,
    hostId: c.hostId,
    initiatorIqn: c.initiatorIqn,
    state: "connecting",
    device: "",
    stagingPath: "",
    readOnly: false,
    targetPaths: [],
    readOnlyPaths: [],
    chap: newChap(volume.authentication),
    generation: c.generation,
    createdAt: new Date(),
    writeProtected: c.readOnly,
  };
  await deps.volumes.update(c.volumeId, { generation: c.generation });
  await deps.volumes.putAttachment(attachment);
}

async function forgetAttachment(c: ConnectVolumeContext, { deps }: Io): Promise<void> {
  await deps.volumes.removeAttachment(c.volumeId, c.hostId);
}

async function letIn(c: ConnectVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  // A session from before, cut off by a fence, holds an old secret and may hold an old mount with writes in its cache: it
  // goes before the initiator is let in, or those writes would reach a volume that has moved on since.
  await removeStaleSession(deps, await deps.hosts.get(c.hostId), volume, signal);
  await allowInitiator(await deps.machines.get(volume.hostId), volume, attachment, signal, c.generation);
}

async function shutOut(c: ConnectVolumeContext, { deps, signal }: Io): Promise<void> {
  const volume = await deps.volumes.get(c.volumeId);
  const { lio } = await deps.machines.get(volume.hostId);
  await lio.removeInitiator(parseIqn(volume.targetName), parseIqn(c.initiatorIqn), { signal });
}

async function logIn(c: ConnectVolumeContext, { deps, signal }: Io): Promise<undefined> {
  const { volume, attachment } = await findAttachment(deps, c.volumeId, c.hostId);
  await logInInitiator(await deps.machines.get(c.hostId), volume, attachment, signal);
}

async function logOut(c: ConnectVolumeContext, { deps, signal }: Io): Promise<void> {
  const volume = await deps.volumes.get(c.volumeId);
  await logOutInitiator(await deps.machines.get(c.hostId), volume, signal);
}

async function leave(c: ConnectVolumeContext, { deps }: Io): Promise<void> {
  await rememberLeftover(deps, c);
}

async function awaitDevice(c: ConnectVolumeContext, { deps, signal }: Io): Promise<Partial<ConnectVolumeContext>> {
  const volume = await deps.volumes.get(c.volumeId);
  const { path, readOnly } = await findDevice(await deps.machines.get(c.hostId), volume, signal);
  if (readOnly === c.readOnly) return { device: path };
  throw new StorageError("precondition", `connect volumes/${c.volumeId}: its disk ${path} ${readOnly ? "is" : "is not"} read-only`, {
    details: { host: `hosts/${c.hostId}` },
    hint: "Look at the zvol's readonly property and at the backstore on the target host.",
  });
}

async function recordConnected(c: ConnectVolumeContext, { deps }: Io): Promise<undefined> {
  await deps.volumes.updateAttachment(c.volumeId, c.hostId, { state: "connected", device: c.device ?? "" });
}

/** Target side of an attachment: ACL, secrets, mapped LUN. */
export async function allowInitiator(
  { lio }: Machine,
  volume: VolumeRecord,
  attachment: AttachmentRecord,
  signal: AbortSignal,
  generation?: number,
): Promise<void> {
  await lio.ensureInitiator(
    {
      target: parseIqn(volume.targetName),
      initiator: parseIqn(attachment.initiatorIqn),
      readOnly: attachment.writeProtected,
      ...chapOf(attachment),
      ...markFor(volume, generation),
    },
    { signal },
  );
}

/**
 * Initiator side of an attachment: node record and session, at the first of the volume's portals that works (`first` before the
 * others). The record that is left is of that portal.
 */
export async function logInInitiator(
  { iscsi }: Machine,
  volume: VolumeRecord,
  attachment: AttachmentRecord,
  signal: AbortSignal,
  first?: PortalRef,
): Promise<void> {
  const target = parseIqn(volume.targetName);
  const failures: { readonly portal: Portal; readonly error: unknown }[] = [];
  for (const portal of portalsToTry(volume, first)) {
    const others = await iscsi.writeNodeRecord({ target, portal, replacementTimeoutSeconds, ...chapOf(attachment) }, { signal });
    try {
      await iscsi.login({ target, portal }, { signal });
    } catch (error) {
      if (!isOfPortal(error)) throw error;
      failures.push({ portal, error });
      continue;
    }
    for (const other of others) await iscsi.removeNodeRecord({ target, portal: other }, { signal });
    return;
  }
  throw noneWorks(volume, attachment, failures);
}

/** Another portal may do better: there was no answer, and the initiator itself is there to say so. */
function isOfPortal(error: unknown): boolean {
  if (reasonOf(error) !== "unavailable" && reasonOf(error) !== "timeout") return false;
  for (let link = error; link instanceof Error; link = link.cause) if (link instanceof CommandError && link.reason === "unavailable") return false;
  return true;
}

function noneWorks(volume: VolumeRecord, { hostId }: AttachmentRecord, failures: readonly { readonly portal: Portal; readonly error: unknown }[]): unknown {
  const [only, ...others] = failures;
  if (others.length === 0) return only?.error;
  const why = failures.map(({ portal, error }) => `${formatPortal(portal)} (${errorChain(error)})`).join("; ");
  return new StorageError("unavailable", `log in to volumes/${volume.id} on hosts/${hostId}: no portal works: ${why}`, {
    details: { volume: `volumes/${volume.id}`, host: `hosts/${hostId}` },
    hint: `Check the portals of hosts/${volume.hostId} and the network between the two hosts; UpdateHost changes the portals.`,
  });
}

/** Ends the session by the recorded target name, never by device or portal: both may be gone. */
export async function logOutInitiator({ iscsi }: Machine, volume: VolumeRecord, signal: AbortSignal): Promise<void> {
  const target = parseIqn(volume.targetName);
  await iscsi.logout({ target }, { signal });
  await iscsi.removeRecordsOf(target, { signal }, volume.portals.map((portal) => parsePortal(portal)));
}

/** The device whose serial is the volume's, once it has the recorded size. Never one that merely stands where it stood. */
export async function findDevice({ devices }: Machine, volume: VolumeRecord, signal: AbortSignal): Promise<BlockDevice> {
  const session = { target: parseIqn(volume.targetName) };
  const { path } = await devices.awaitIscsiDevice(session, volume.handle, { signal });
  return devices.awaitSize(path, bytes(volume.capacityBytes), { signal });
}

function chapOf(attachment: AttachmentRecord): { chap?: Chap } {
  if (attachment.chap === undefined) return {};
  const { userid, password, mutual } = attachment.chap;
  return {
    chap: {
      userid,
      password,
      ...(mutual === undefined ? {} : { mutualUserid: mutual.userid, mutualPassword: mutual.password }),
    },
  };
}

/**
 * RFC 7143 12.1.3 asks for at least 96 bits; initiators of other systems accept at most 16 characters: 16 of 64 = 96 bits. The
 * user id begins with a letter of its own, since LIO reads one that begins with `0x` or `0b` as a number (requireChap).
 */
function newChap(authentication: AuthenticationMode): ChapRecord | undefined {
  if (authentication === "none") return undefined;
  const credentials = () => ({
    userid: `u${randomBytes(6).toString("hex")}`,
    password: new Secret(randomBytes(12).toString("base64url")),
  });
  return { ...credentials(), mutual: authentication === "mutual_chap" ? credentials() : undefined };
}
