import { randomUUID } from "node:crypto";
import { childOf, parseDatasetName, parsePoolName } from "@zfsilo/host";
import { bytes, invalidField, newVolumeHandle, roundUp, StorageError, type HostId, type VolumeId } from "@zfsilo/lib";
import { fingerprint } from "../operation/fingerprint.ts";
import type { AuthenticationMode, HostRecord, PoolRef, VolumeMode } from "../store/model.ts";
import { createVolume, type CreateVolumeContext } from "../workflow/create-volume.ts";
import { targetNameOf } from "../workflow/ownership.ts";
import type { Answer } from "./answer.ts";
import { alreadySo, hostInRole, namingCapacity, runOn, type RequestDeps } from "./volume-requests.ts";

/** A checked CreateVolume request. */
export interface CreateVolumeInput {
  readonly id: VolumeId;
  readonly displayName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly hostId: HostId;
  /** Empty: the only pool of the host. */
  readonly pool: string;
  readonly capacityBytes: bigint;
  readonly sparse: boolean;
  readonly zfsOptions: Readonly<Record<string, string>>;
  readonly mode: VolumeMode;
  readonly filesystem:
    | { readonly type: "ext4" | "xfs"; readonly mkfsOptions: Readonly<Record<string, string>>; readonly mountOptions: readonly string[] }
    | undefined;
  readonly authentication: AuthenticationMode;
}

/** The largest default volblocksize of the ZFS releases in use (16K since 2.2, 8K before): a multiple of it suits both. */
const defaultBlockBytes = 16_384n;

/** The same id with the same fields is the same volume, however often it is asked for. */
export async function requestCreate(deps: RequestDeps, input: CreateVolumeInput): Promise<Answer> {
  const { id, ...asked } = input;
  const print = fingerprint(asked);
  return deps.operations.submit({ subject: `volumes/${id}`, kind: createVolume.kind, input: asked }, async (begin) => {
    const existing = await deps.volumes.find(id);
    if (existing !== undefined) {
      if (existing.requestFingerprint === print) return alreadySo(existing);
      throw new StorageError("already_exists", `volumes/${id} exists and was created with other fields`, {
        details: { volume: `volumes/${id}` },
        hint: "Choose another volume_id, or repeat the request exactly as it was made.",
      });
    }
    const host = await hostInRole(deps, input.hostId, "target", "volume.host");
    const pool = choosePool(host, input.pool);
    await refuseBeyondPool(deps, host, pool, input);
    const handle = newVolumeHandle();
    const blockBytes = BigInt(input.zfsOptions["volblocksize"] ?? defaultBlockBytes);
    const context: CreateVolumeContext = {
      volumeId: id,
      handle,
      displayName: input.displayName,
      labels: { ...input.labels },
      hostId: host.id,
      pool: pool.name,
      dataset: childOf(parseDatasetName(pool.parentDataset), handle),
      capacityBytes: roundUp(bytes(input.capacityBytes), blockBytes),
      sparse: input.sparse,
      zfsOptions: { ...input.zfsOptions },
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
    };
    return namingCapacity(pool.name, input.capacityBytes, () => runOn(deps, id, begin, createVolume, context));
  });
}

function choosePool(host: HostRecord, name: string): PoolRef {
  const only = host.pools[0];
  if (name === "" && only !== undefined && host.pools.length === 1) return only;
  const known = host.pools.map((pool) => pool.name).join(", ");
  if (name === "") throw invalidField("volume.pool", `must be set: hosts/${host.id} has the pools ${known || "none"}`);
  const pool = host.pools.find((candidate) => candidate.name === name);
  if (pool !== undefined) return pool;
  throw new StorageError("not_found", `volume.pool: hosts/${host.id} has no pool "${name}"`, {
    details: { field: "volume.pool", host: `hosts/${host.id}` },
    hint: `Its pools are: ${known || "none"}.`,
  });
}

/** ZFS itself refuses a thick volume that does not fit, but takes a sparse one of any size. */
async function refuseBeyondPool(
  deps: RequestDeps,
  host: HostRecord,
  pool: PoolRef,
  input: CreateVolumeInput,
): Promise<void> {
  if (!input.sparse) return;
  const { zfs } = deps.machines.of(host);
  const found = await zfs.findPool(parsePoolName(pool.name), { signal: new AbortController().signal });
  if (found === undefined) {
    throw new StorageError("unavailable", `pool ${pool.name} is not imported on hosts/${host.id}`, {
      details: { host: `hosts/${host.id}`, pool: pool.name },
      hint: "Import it with `zpool import` on that host.",
    });
  }
  if (input.capacityBytes <= found.sizeBytes) return;
  throw new StorageError("no_space", `volume.capacity_bytes: ${input.capacityBytes} is more than the whole pool ${pool.name}`, {
    details: { field: "volume.capacity_bytes", pool: pool.name },
    hint: `The pool has ${found.sizeBytes} bytes.`,
  });
}
