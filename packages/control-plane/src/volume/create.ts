import { randomUUID } from "node:crypto";
import { childOf, parseDatasetName } from "@zfsilo/host";
import { bytes, newVolumeHandle, roundUp, type HostId, type VolumeId } from "@zfsilo/lib";
import { fingerprint } from "../operation/fingerprint.ts";
import type { AuthenticationMode, VolumeMode } from "../store/model.ts";
import { createVolume, type CreateVolumeContext } from "../workflow/create-volume.ts";
import { targetNameOf } from "../workflow/ownership.ts";
import type { Answer } from "./answer.ts";
import { requireMakeable } from "./growth-limit.ts";
import { checkKeyFile, type GivenKey } from "./keys.ts";
import { placementNotes } from "./placement.ts";
import { hostInRole, inTurnOn, madeBefore, namingCapacity, runOn, type BeginWorkflow, type RequestDeps } from "./volume-requests.ts";

/** A checked CreateVolume request. */
export interface CreateVolumeInput {
  readonly id: VolumeId;
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Undefined: where it fits best. */
  readonly hostId: HostId | undefined;
  /** Empty: where it fits best. */
  readonly pool: string;
  /** Empty: where it fits best. */
  readonly parentDataset: string;
  readonly hostLabels: Readonly<Record<string, string>>;
  readonly capacityBytes: bigint;
  readonly sparse: boolean;
  readonly zfsOptions: Readonly<Record<string, string>>;
  /** Undefined: none. `keyHash` tells calls with different keys apart. */
  readonly encryption: { readonly algorithm: string; readonly keyFile: string; readonly keyHash: string } | undefined;
  readonly mode: VolumeMode;
  readonly filesystem:
    | { readonly type: "ext4" | "xfs"; readonly mkfsOptions: Readonly<Record<string, string>>; readonly mountOptions: readonly string[] }
    | undefined;
  readonly authentication: AuthenticationMode;
}

/** The largest default volblocksize of the ZFS releases in use (16K since 2.2, 8K before): a multiple of it suits both. */
const defaultBlockBytes = 16_384n;

/** The same id with the same fields is the same volume, however often it is asked for. */
export async function requestCreate(deps: RequestDeps, input: CreateVolumeInput, key?: GivenKey): Promise<Answer> {
  const { id, ...asked } = input;
  const print = fingerprint({ ...asked, ...withoutEmpty(asked) });
  const request = { subject: `volumes/${id}`, kind: createVolume.kind, input: asked };
  return deps.operations.submit(request, (begin) => inTurnOn(deps, input.hostId, () => create(deps, input, print, begin, key)));
}

/** One whose host was not named waits for its turn once it is placed: until then nobody knows where. */
async function create(deps: RequestDeps, input: CreateVolumeInput, print: string, begin: BeginWorkflow, key: GivenKey | undefined): Promise<Answer> {
  const { id } = input;
  const existing = await deps.volumes.find(id);
  if (existing !== undefined) return madeBefore(existing, print);
  const { encryption } = input;
  if (encryption !== undefined && encryption.keyFile !== "") checkKeyFile(encryption.keyFile, deps.keyRoots);
  if (input.hostId !== undefined) await hostInRole(deps, input.hostId, "target", "volume.host");
  const blockBytes = BigInt(input.zfsOptions["volblocksize"] ?? defaultBlockBytes);
  const capacityBytes = roundUp(bytes(input.capacityBytes), blockBytes);
  requireMakeable(input.filesystem, capacityBytes);
  const { volblocksize } = input.zfsOptions;
  const shape = { sparse: input.sparse, volblocksize: volblocksize === undefined ? undefined : BigInt(volblocksize) };
  const place = await deps.placer.place({ ...input, capacityBytes, shape });
  const { host, pool } = place;
  const placed = input.hostId === undefined ? host.id : undefined;
  const handle = newVolumeHandle();
  const context: CreateVolumeContext = {
    volumeId: id,
    handle,
    displayName: input.displayName,
    labels: { ...input.labels },
    hostId: host.id,
    pool: pool.name,
    dataset: childOf(parseDatasetName(pool.parentDataset), handle),
    capacityBytes,
    sparse: input.sparse,
    zfsOptions: { ...input.zfsOptions },
    ...(encryption && { encryption: { algorithm: encryption.algorithm, keyFile: encryption.keyFile } }),
    mode: input.mode,
    ...(input.filesystem === undefined
      ? {}
      : {
          filesystem: {
            type: input.filesystem.type,
            mkfsOptions: { ...input.filesystem.mkfsOptions },
            mountOptions: [...input.filesystem.mountOptions],
            uuid: randomUUID(),
          },
        }),
    authentication: input.authentication,
    targetName: targetNameOf(deps.iqnPrefix, handle),
    requestFingerprint: print,
    ...(pool.quotaBytes === undefined ? {} : { quotaBytes: pool.quotaBytes }),
    ...(place.candidates.length === 0 ? {} : { notes: placementNotes(place.candidates) }),
  };
  try {
    const answer = await namingCapacity(pool.name, input.capacityBytes, () =>
      deps.keys.holding(id, key?.hex, () => inTurnOn(deps, placed, () => runOn(deps, id, begin, createVolume, context))),
    );
    deps.current.add(id);
    return { ...answer, placement: place.candidates };
  } finally {
    place.release();
  }
}

/** What is not asked for is left out, so that a request has the fingerprint it had before there was the field. */
function withoutEmpty({ parentDataset, hostLabels }: Pick<CreateVolumeInput, "parentDataset" | "hostLabels">): object {
  return { parentDataset: parentDataset || undefined, hostLabels: Object.keys(hostLabels).length === 0 ? undefined : hostLabels };
}
