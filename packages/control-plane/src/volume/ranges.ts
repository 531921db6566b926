import { bytes, invalidField, StorageError, type Bytes, type SnapshotId } from "@zfsilo/lib";
import type { ByteRange } from "@zfsilo/host";
import type { SnapshotRecord } from "../store/model.ts";
import { snapshotOwner, zfsNameOf } from "../workflow/snapshot-ownership.ts";
import { readySnapshot } from "./snapshot-requests.ts";
import type { RequestDeps } from "./volume-requests.ts";

export interface RangesAsk {
  readonly startOffset: bigint;
  /** Of one batch. */
  readonly maxRanges: number;
}

export interface Ranges {
  readonly capacityBytes: bigint;
  /** Never empty but for the only one of a stream without ranges. */
  readonly batches: AsyncIterable<readonly ByteRange[]>;
}

/** Where a snapshot holds data. Ends the send on the host when it is no longer read, or the signal aborts. */
export async function allocatedRanges(deps: RequestDeps, id: SnapshotId, ask: RangesAsk, signal: AbortSignal): Promise<Ranges> {
  const snapshot = await own(deps, id, "name", signal);
  const startOffset = startIn(snapshot, ask);
  const { ranges } = await deps.machines.get(snapshot.hostId);
  const found = ranges.allocated(zfsNameOf(snapshot), { startOffset }, { signal });
  return { capacityBytes: snapshot.capacityBytes, batches: inBatches(found, ask.maxRanges) };
}

/** Where two snapshots of one zvol may differ. */
export async function changedRanges(
  deps: RequestDeps,
  { base, target }: { readonly base: SnapshotId; readonly target: SnapshotId },
  ask: RangesAsk,
  signal: AbortSignal,
): Promise<Ranges> {
  const from = await own(deps, base, "base", signal);
  const to = await own(deps, target, "target", signal);
  if (from.hostId !== to.hostId || from.dataset !== to.dataset) {
    throw new StorageError("precondition", `base: snapshots/${base} and snapshots/${target} are not of one volume`, {
      details: { field: "base" },
      hint: "What differs is told for two snapshots that the same volume holds.",
    });
  }
  if (BigInt(from.createTxg) >= BigInt(to.createTxg)) throw invalidField("base", `snapshots/${base} is not older than snapshots/${target}`);
  const startOffset = startIn(to, ask);
  const { ranges } = await deps.machines.get(to.hostId);
  const found = ranges.changed(zfsNameOf(from), zfsNameOf(to), { startOffset }, { signal });
  return { capacityBytes: to.capacityBytes, batches: inBatches(found, ask.maxRanges) };
}

/** Read back first (I1): one that was taken again under its name holds something else. */
async function own(deps: RequestDeps, id: SnapshotId, field: string, signal: AbortSignal): Promise<SnapshotRecord> {
  const row = await readySnapshot(deps, id, field);
  const { snapshots } = await deps.machines.get(row.hostId);
  snapshots.requireOwner(await snapshots.get(zfsNameOf(row), { signal }), snapshotOwner(row, deps));
  return row;
}

function startIn({ capacityBytes }: SnapshotRecord, { startOffset }: RangesAsk): Bytes {
  if (startOffset <= capacityBytes) return bytes(startOffset);
  throw invalidField("start_offset", `${startOffset} is beyond the ${capacityBytes} bytes of the snapshot`);
}

/** As many as asked for in each, so that the size of a message does not depend on how the data came. */
async function* inBatches(found: AsyncIterable<readonly ByteRange[]>, size: number): AsyncGenerator<readonly ByteRange[]> {
  let batch: ByteRange[] = [];
  let any = false;
  for await (const some of found) {
    for (const range of some) {
      batch.push(range);
      if (batch.length < size) continue;
      any = true;
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0 || !any) yield batch;
}
