import { occupied, pieceSize } from "../content.ts";
import type { Machine } from "../machine.ts";
import type { DatasetDoc, Model } from "../model.ts";
import { findDataset, snapshotKey, snapshotsOf } from "./datasets.ts";

/**
 * What lies where, and since when. A piece of data is known by its place in the content (a block's index, a file's path) and
 * the generation that wrote it: a snapshot and the volume it is of share those that have both in common.
 */
export type Pieces = ReadonlyMap<string, Piece>;

export interface Piece {
  readonly generation: number;
  readonly bytes: number;
}

export function piecesOf(model: Model, content: string | undefined): Pieces {
  const pieces = new Map<string, Piece>();
  if (content === undefined) return pieces;
  for (const name of model.blocks.children(content)) {
    const block = model.blocks.get(`${content}/${name}`);
    if (block !== undefined) pieces.set(name, { generation: block.generation, bytes: pieceSize });
  }
  const visit = (key: string): void => {
    const file = model.files.get(key);
    const bytes = file === undefined ? 0 : occupied(file.text);
    if (file !== undefined && bytes > 0) pieces.set(key.slice(content.length), { generation: file.generation, bytes });
    for (const name of model.files.children(key)) visit(`${key}/${name}`);
  };
  visit(content);
  return pieces;
}

export function bytesNewerThan(pieces: Pieces, generation: number): bigint {
  let sum = 0;
  for (const piece of pieces.values()) if (piece.generation > generation) sum += piece.bytes;
  return BigInt(sum);
}

/** The generation up to which everything is the origin's, and 0 for a volume that is no clone. */
function baseOf(machine: Machine, dataset: string): number {
  const content = findDataset(machine, dataset)?.content;
  return content === undefined ? 0 : (machine.model.contents.get(content)?.base ?? 0);
}

export function snapshotContent(machine: Machine, snapshot: string): string | undefined {
  return machine.model.snapshots.get(snapshotKey(machine, snapshot))?.content;
}

export function generationOf(machine: Machine, content: string | undefined): number {
  return content === undefined ? 0 : (machine.model.contents.get(content)?.generation ?? 0);
}

/** The generation of a volume's newest snapshot; what is newer is the volume's alone. */
export function newestGeneration(machine: Machine, dataset: string): number {
  const tag = snapshotsOf(machine, dataset).at(-1);
  if (tag === undefined) return baseOf(machine, dataset);
  return generationOf(machine, snapshotContent(machine, `${dataset}@${tag}`));
}

/** Bytes that only snapshots of a volume hold, each piece once. */
export function heldBySnapshots(machine: Machine, dataset: string): bigint {
  const live = piecesOf(machine.model, findDataset(machine, dataset)?.content);
  const base = baseOf(machine, dataset);
  const held = new Map<string, number>();
  for (const tag of snapshotsOf(machine, dataset)) {
    for (const [place, piece] of piecesOf(machine.model, snapshotContent(machine, `${dataset}@${tag}`))) {
      if (piece.generation <= base || live.get(place)?.generation === piece.generation) continue;
      held.set(`${place}@${piece.generation}`, piece.bytes);
    }
  }
  return BigInt([...held.values()].reduce((sum, bytes) => sum + bytes, 0));
}

/** `used` of a snapshot: what neither its neighbours nor the volume share with it. */
export function usedBySnapshot(machine: Machine, snapshot: string): bigint {
  const [dataset = "", tag = ""] = snapshot.split("@");
  const all = snapshotsOf(machine, dataset);
  const at = all.indexOf(tag);
  const neighbour = (name: string | undefined): Pieces =>
    piecesOf(machine.model, name === undefined ? undefined : snapshotContent(machine, `${dataset}@${name}`));
  const before = neighbour(all[at - 1]);
  const after = at + 1 < all.length ? neighbour(all[at + 1]) : piecesOf(machine.model, findDataset(machine, dataset)?.content);
  const base = baseOf(machine, dataset);
  let sum = 0;
  for (const [place, { generation, bytes }] of piecesOf(machine.model, snapshotContent(machine, snapshot))) {
    if (generation <= base) continue;
    if (before.get(place)?.generation !== generation && after.get(place)?.generation !== generation) sum += bytes;
  }
  return BigInt(sum);
}

/** `written` of a snapshot: what came since the one before it. For the first, all but what a clone inherited. */
export function writtenBySnapshot(machine: Machine, snapshot: string): bigint {
  const [dataset = "", tag = ""] = snapshot.split("@");
  const all = snapshotsOf(machine, dataset);
  const before = all[all.indexOf(tag) - 1];
  const since = before === undefined ? baseOf(machine, dataset) : generationOf(machine, snapshotContent(machine, `${dataset}@${before}`));
  return bytesNewerThan(piecesOf(machine.model, snapshotContent(machine, snapshot)), since);
}

/** `written` of a volume: what came since its newest snapshot; without one, all that it refers to. */
export function writtenByDataset(machine: Machine, name: string, { content, space }: DatasetDoc): bigint {
  if (snapshotsOf(machine, name).length === 0) return BigInt(space.referenced);
  return bytesNewerThan(piecesOf(machine.model, content), newestGeneration(machine, name));
}
