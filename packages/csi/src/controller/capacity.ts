import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { csi, type GetCapacityRequestSchema } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { parseCapabilities } from "../capability.ts";
import { smallestSize } from "../capacity-range.ts";
import type { ControlPlane } from "../control-plane.ts";
import { controlPlaneError } from "../control-plane-error.ts";
import { hostName } from "../names.ts";
import { defaultFsType } from "./create-volume.ts";
import { parseParameters } from "./parameters.ts";

/**
 * Space for new volumes of one class, as CreateVolume with the same parameters finds it: in all places that the class allows,
 * and for a single volume. Scheduler and provisioner ask for each class, so a class of sparse volumes gets what may be promised.
 */
export async function getCapacity(
  controlPlane: ControlPlane,
  request: csi.GetCapacityRequest,
  signal: AbortSignal,
): Promise<csi.GetCapacityResponse> {
  const use = request.volumeCapabilities.length === 0 ? undefined : parseCapabilities(request.volumeCapabilities)[0];
  const { host, pool, sparse, zfsOptions, hostLabels } = parseParameters(request.parameters, {});
  const blockSize = zfsOptions["volblocksize"];
  const smallest = smallestSize(blockSize, use?.kind === "filesystem" ? use.fsType || defaultFsType : "");
  const asked = { host: host === "" ? "" : hostName(host), pool, sparse, hostLabels, volblocksizeBytes: blockBytes(blockSize) };
  const { availableBytes, maximumVolumeBytes } = await ask(controlPlane, asked, signal);
  // Where not even the smallest fits nothing does.
  const fits = maximumVolumeBytes >= smallest;
  return create(csi.GetCapacityResponseSchema, {
    availableCapacity: fits ? availableBytes : 0n,
    maximumVolumeSize: fits ? maximumVolumeBytes : 0n,
    minimumVolumeSize: smallest,
  });
}

async function ask(
  { server }: ControlPlane,
  asked: MessageInitShape<typeof GetCapacityRequestSchema>,
  signal: AbortSignal,
): Promise<{ readonly availableBytes: bigint; readonly maximumVolumeBytes: bigint }> {
  try {
    return await server.getCapacity(asked, { signal });
  } catch (error) {
    // A host or pool that the class names and that is not there.
    const answer = controlPlaneError(error);
    const isAboutPlace = answer !== undefined && (answer.code === Code.NotFound || ["host", "pool"].includes(answer.field));
    if (!isAboutPlace) throw error;
    throw new StorageError("invalid_argument", `parameters: ${answer.message}`, { cause: error, hint: answer.hint });
  }
}

function blockBytes(blockSize: string | undefined): bigint {
  if (blockSize === undefined) return 0n;
  if (/^\d{1,7}$/.test(blockSize)) return BigInt(blockSize);
  throw new StorageError("invalid_argument", 'parameters["zfs.volblocksize"]: is not a size in bytes');
}
