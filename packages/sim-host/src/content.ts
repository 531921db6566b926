import { KernelError } from "./failure.ts";
import type { ContentDoc, Model } from "./model.ts";
import { adjustSpace } from "./zfs/space.ts";

/** Raw content is kept in pieces of this many bytes, the default volblocksize; pieces never written take no room. */
export const pieceSize = 8192;

/** A piece of data that is being replaced: how long it is, and in which generation it was written. */
export interface Replaced {
  readonly bytes: number;
  readonly generation: number;
}

/**
 * Charges the owner of `content` for `bytes` of new data in place of `old`. What an earlier generation wrote stays with the
 * snapshot that holds it, and what a clone inherited was never its own. ENOSPC leaves everything as it was.
 */
export function chargeWrite(model: Model, content: ContentDoc, old: Replaced | undefined, bytes: number): void {
  if (content.owner === undefined) return;
  adjustSpace(model, content.owner, (dataset) => {
    const space = dataset.space;
    const add = (field: keyof typeof space, amount: bigint): void => {
      space[field] = (BigInt(space[field]) + amount).toString();
    };
    if (old !== undefined && old.bytes > 0) {
      const size = BigInt(old.bytes);
      if (old.generation === content.generation) {
        add("referenced", -size);
        add("unique", -size);
      } else if (old.generation <= content.base) {
        add("inherited", -size);
      } else {
        add("referenced", -size);
        add("snapshots", size);
      }
    }
    add("referenced", BigInt(bytes));
    add("unique", BigInt(bytes));
  });
}

/** Writes raw bytes from the start of a device. Overwriting the place of a superblock destroys the filesystem. */
export function writeRaw(model: Model, id: string, data: Buffer): void {
  for (let start = 0; start < data.length; start += pieceSize) {
    writePiece(model, id, start / pieceSize, data.subarray(start, start + pieceSize));
  }
  const content = contentOf(model, id);
  if (content.fs === undefined || superblockMatches(content.fs.type, readRaw(model, id, pieceSize))) return;
  model.files.deleteTree(id);
  const edited = model.contents.edit(id);
  if (edited !== undefined) delete edited.fs;
}

function writePiece(model: Model, id: string, index: number, data: Buffer): void {
  const content = contentOf(model, id);
  const key = `${id}/${index}`;
  const before = model.blocks.get(key);
  const piece = before === undefined ? Buffer.alloc(pieceSize) : Buffer.from(before.data, "base64");
  data.copy(piece);
  chargeWrite(
    model,
    content,
    before === undefined ? undefined : { bytes: pieceSize, generation: before.generation },
    pieceSize,
  );
  model.blocks.put(key, { generation: content.generation, data: piece.toString("base64") });
}

/** The first `length` raw bytes. */
export function readRaw(model: Model, id: string, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (const name of model.blocks.children(id)) {
    const start = Number(name) * pieceSize;
    const block = start < length ? model.blocks.get(`${id}/${name}`) : undefined;
    if (block !== undefined) Buffer.from(block.data, "base64").copy(bytes, start);
  }
  return bytes;
}

/** Empties the device and its accounting, as a discard of all of it would. */
export function discardAll(model: Model, id: string): void {
  const content = contentOf(model, id);
  for (const name of model.blocks.children(id)) {
    const block = model.blocks.get(`${id}/${name}`);
    if (block !== undefined) chargeWrite(model, content, { bytes: pieceSize, generation: block.generation }, 0);
    model.blocks.delete(`${id}/${name}`);
  }
  dropFiles(model, id, content);
}

function dropFiles(model: Model, id: string, content: ContentDoc): void {
  const visit = (key: string): void => {
    for (const name of model.files.children(key)) visit(`${key}/${name}`);
    const file = model.files.get(key);
    if (file === undefined) return;
    const bytes = occupied(file.text);
    if (bytes > 0) chargeWrite(model, content, { bytes, generation: file.generation }, 0);
    model.files.delete(key);
  };
  visit(id);
}

/** Bytes a file takes on its filesystem: whole 4 KiB blocks. */
export function occupied(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / 4096) * 4096;
}

/** Removes content that nothing refers to any more. Space is the caller's to account for. */
export function dropContent(model: Model, id: string): void {
  model.blocks.deleteTree(id);
  model.files.deleteTree(id);
  model.contents.delete(id);
}

/** A copy for a snapshot, clone or rollback. The copy shares its space with the original by way of generations. */
export function copyContent(model: Model, from: string, to: string, content: ContentDoc): void {
  const copyFiles = (source: string, target: string): void => {
    const file = model.files.get(source);
    if (file !== undefined) model.files.put(target, { ...file });
    for (const name of model.files.children(source)) copyFiles(`${source}/${name}`, `${target}/${name}`);
  };
  copyFiles(from, to);
  for (const name of model.blocks.children(from)) {
    const block = model.blocks.get(`${from}/${name}`);
    if (block !== undefined) model.blocks.put(`${to}/${name}`, { ...block });
  }
  model.contents.put(to, structuredClone(content));
}

export function contentOf(model: Model, id: string): ContentDoc {
  const content = model.contents.get(id);
  if (content === undefined) throw new KernelError("EIO", `content ${id}`);
  return content;
}

/** ext4: magic 0xEF53 at 0x438, UUID at 0x468. xfs: "XFSB" at 0, UUID at 32. */
export function superblock(type: "ext4" | "xfs", uuid: string): Buffer {
  const block = Buffer.alloc(pieceSize);
  const id = Buffer.from(uuid.replaceAll("-", ""), "hex");
  if (type === "xfs") {
    block.write("XFSB", 0, "latin1");
    id.copy(block, 32);
  } else {
    block.writeUInt16LE(0xef53, 0x438);
    id.copy(block, 0x468);
  }
  return block;
}

function superblockMatches(type: "ext4" | "xfs", start: Buffer): boolean {
  return type === "xfs" ? start.toString("latin1", 0, 4) === "XFSB" : start.readUInt16LE(0x438) === 0xef53;
}
