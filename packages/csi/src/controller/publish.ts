import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { csi, type Attachment, type Volume } from "@zfsilo/api";
import { KeyedMutex, StorageError, type Logger } from "@zfsilo/lib";
import { parseCapability } from "../capability.ts";
import type { ControlPlane } from "../control-plane.ts";
import { answered } from "../control-plane-error.ts";
import { checkId, hostName, idOf, isId, requireText } from "../names.ts";
import { attachmentOf, findVolume, getVolume, publishedNodes, requireFit } from "../volume.ts";

/** Which nodes may use a volume: its export, and the access and session of each node. */
export class Publishing {
  readonly #controlPlane: ControlPlane;
  readonly #log: Logger;
  /** Publishing looks first and acts then; another call for the same volume must not come in between. */
  readonly #turns = new KeyedMutex();

  constructor(controlPlane: ControlPlane, log: Logger) {
    this.#controlPlane = controlPlane;
    this.#log = log;
  }

  async publish(request: csi.ControllerPublishVolumeRequest, signal: AbortSignal): Promise<csi.ControllerPublishVolumeResponse> {
    requireText(request.volumeId, "volume_id");
    requireText(request.nodeId, "node_id");
    const use = parseCapability(request.volumeCapability);
    // A filesystem that is only to be mounted read-only stays writable for its node: it may have to be made, or its journal replayed.
    const readOnly = request.readonly || (use.kind === "block" && use.readOnly);
    await this.#turns.run(
      request.volumeId,
      async () => {
        const volume = await getVolume(this.#controlPlane, request.volumeId, signal);
        const host = hostName(checkId(request.nodeId, "node_id"));
        const present = attachmentOf(volume, host);
        requireFit(volume, use, present !== undefined);
        if (present !== undefined) refuseOtherAccess(volume, present, readOnly);
        if (!use.multiNode) refuseSecondNode(volume, request.nodeId);
        else if (use.readOnly) refuseWriters(volume);
        const { name } = volume;
        await this.#controlPlane.hosts.getHost({ name: host }, { signal });
        await this.#controlPlane.volumes.publishVolume({ name }, { signal });
        await this.#controlPlane.volumes.connectVolume({ name, host, readOnly }, { signal });
      },
      signal,
    );
    return create(csi.ControllerPublishVolumeResponseSchema);
  }

  /** Ends the access of one node, or of all when none is named; the export goes with the last. */
  async unpublish(request: csi.ControllerUnpublishVolumeRequest, signal: AbortSignal): Promise<csi.ControllerUnpublishVolumeResponse> {
    requireText(request.volumeId, "volume_id");
    const work = async (): Promise<void> => {
      const volume = isId(request.volumeId) ? await findVolume(this.#controlPlane, request.volumeId, signal) : undefined;
      if (volume === undefined) return;
      // A node that is named may have been about to get it when it died: then no attachment shows it yet.
      const nodes = request.nodeId === "" ? publishedNodes(volume) : isId(request.nodeId) ? [request.nodeId] : [];
      for (const node of nodes) await this.#disconnect(volume, hostName(node), signal);
      await this.#endExport(volume.name, signal);
    };
    await this.#turns.run(request.volumeId, work, signal);
    return create(csi.ControllerUnpublishVolumeResponseSchema);
  }

  /**
   * The caller decides that a node loses a volume (docs/decisions/0010): where the node still uses it, or cannot be asked,
   * its access ends at the target, whatever it is doing (I8).
   */
  async #disconnect(volume: Volume, host: string, signal: AbortSignal): Promise<void> {
    const { name } = volume;
    const attachment = attachmentOf(volume, host);
    const inUse = (attachment?.stagingPath ?? "") !== "";
    const reason = inUse ? "it is still staged there" : attachment && (await this.#isAway(host, signal)) ? "the node does not answer" : undefined;
    if (reason === undefined) {
      try {
        await this.#controlPlane.volumes.disconnectVolume({ name, host }, { signal });
        return;
      } catch (error) {
        if (!answered(error, Code.Unavailable, Code.DeadlineExceeded, Code.FailedPrecondition) && !(await this.#isBusyThere(error, host, signal))) throw error;
        this.#log.warn({ volume: name, host, err: error }, "the node could not log out");
      }
    }
    this.#log.warn({ volume: name, host, reason: reason ?? "it could not log out" }, "shutting the node out at the target");
    await this.#controlPlane.volumes.disconnectVolume({ name, host, force: true }, { signal });
  }

  /** What works on the volume may wait for the node: one that does not answer is not waited for. */
  async #isBusyThere(error: unknown, host: string, signal: AbortSignal): Promise<boolean> {
    return answered(error, Code.Aborted) && (await this.#isAway(host, signal));
  }

  async #isAway(name: string, signal: AbortSignal): Promise<boolean> {
    try {
      const { host } = await this.#controlPlane.hosts.getHost({ name }, { signal });
      return host?.condition?.abnormal === true;
    } catch (error) {
      if (answered(error, Code.NotFound)) return false;
      throw error;
    }
  }

  async #endExport(name: string, signal: AbortSignal): Promise<void> {
    const { volume } = await this.#controlPlane.volumes.getVolume({ name }, { signal });
    if (volume === undefined || volume.attachments.length > 0) return;
    await this.#controlPlane.volumes.unpublishVolume({ name }, { signal });
  }
}

/** CSI spec, "ControllerPublishVolume": published to this node in another way is ALREADY_EXISTS. */
function refuseOtherAccess({ name }: Volume, { host, writeProtected }: Attachment, readOnly: boolean): void {
  if (writeProtected === readOnly) return;
  const how = writeProtected ? "read-only" : "for writing";
  throw new StorageError("already_exists", `${name} is published to ${idOf(host)} ${how}`, { hint: "Unpublish it there first." });
}

/** MULTI_NODE_READER_ONLY: nobody writes. */
function refuseWriters(volume: Volume): void {
  const writer = volume.attachments.find(({ writeProtected }) => !writeProtected);
  if (writer === undefined) return;
  throw new StorageError("precondition", `${volume.name} is published to ${idOf(writer.host)} for writing`, {
    hint: "The access mode allows readers alone.",
  });
}

function refuseSecondNode(volume: Volume, nodeId: string): void {
  const other = volume.attachments.find(({ host }) => idOf(host) !== nodeId);
  if (other === undefined) return;
  throw new StorageError("precondition", `${volume.name} is published to ${idOf(other.host)}`, {
    hint: "The access mode allows one node at a time.",
  });
}

