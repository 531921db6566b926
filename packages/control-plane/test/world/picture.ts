import type { VolumeId } from "@zfsilo/lib";
import type { AttachmentRecord, FilesystemRecord, GroupSnapshotRecord, SnapshotRecord, VolumeRecord } from "../../src/store/model.ts";
import { bystander, copy, give, group, subject, take, tap } from "./ladder.ts";
import type { World } from "./world.ts";

/** Plain JSON: what the machines and the database hold, but for times, counters and the journal. */
export type WorldPicture = Readonly<Record<string, unknown>>;

export async function pictureOf(world: World, ids: readonly VolumeId[] = [subject, bystander, copy]): Promise<WorldPicture> {
  const { volumes, groups } = world.now.stores;
  const rows = await Promise.all(ids.map((id) => volumes.find(id)));
  const counts = await Promise.all([give, take, tap].map((host) => volumes.countOn(host)));
  return {
    machines: withoutDefaults(world.sim.snapshot()),
    rows: Object.fromEntries(ids.map((id, index) => [id, rowPicture(rows[index])])),
    snapshots: (await snapshotsIn(world)).map(snapshotPicture),
    group: groupPicture(await groups.find(group)),
    // Also what no row of the known ones explains.
    counts,
  };
}

/** What LIO has before anybody writes it (iscsi_target_core.h, 6.1): written or not makes no difference. */
const targetDefaults: Readonly<Record<string, string>> = { "attrib/authentication": "1", "attrib/generate_node_acls": "0" };

/** They only grow: what is undone does not take them back. */
const counters = new Set(["alias", "zfsilo:generation"]);

function withoutDefaults(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDefaults);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([key, item]) => targetDefaults[key] !== item && !counters.has(key));
  return Object.fromEntries(kept.map(([key, item]) => [key, withoutDefaults(item)]));
}

function rowPicture(volume: VolumeRecord | undefined): unknown {
  if (volume === undefined) return null;
  const { revision: _revision, generation: _generation, createdAt: _created, updatedAt: _updated, ...rest } = volume;
  // A condition tells what the reconciler saw last: it changes by looking, not by acting.
  const { capacityBytes, attachments, condition: _condition, ...plain } = rest;
  return { ...plain, filesystem: withoutGuess(plain.filesystem), capacityBytes: capacityBytes.toString(), attachments: attachments.map(attachmentPicture) };
}

/** Whether its journal may have something to recover is a cautious guess after a crash. */
function withoutGuess(filesystem: FilesystemRecord | undefined): unknown {
  if (filesystem === undefined) return null;
  const { unclean: _unclean, ...known } = filesystem;
  return known;
}

async function snapshotsIn(world: World): Promise<SnapshotRecord[]> {
  const rows: SnapshotRecord[] = [];
  for await (const { id } of world.now.stores.snapshots.identities()) rows.push(await world.now.stores.snapshots.get(id));
  return rows;
}

function snapshotPicture(snapshot: SnapshotRecord): unknown {
  const { revision: _revision, createdAt: _created, updatedAt: _updated, createTxg: _txg, condition: _condition, ...rest } = snapshot;
  const { capacityBytes, space: _space, content, ...plain } = rest;
  return { ...plain, capacityBytes: capacityBytes.toString(), content: { ...content, filesystem: withoutGuess(content.filesystem) } };
}

function groupPicture(found: GroupSnapshotRecord | undefined): unknown {
  if (found === undefined) return null;
  const { createdAt: _created, ...rest } = found;
  return rest;
}

function attachmentPicture(attachment: AttachmentRecord): unknown {
  const { createdAt: _created, generation: _generation, device: _device, chap, ...rest } = attachment;
  return { ...rest, chap: chap === undefined ? null : secretsOf(attachment) };
}

function secretsOf({ chap }: AttachmentRecord): readonly string[] {
  if (chap === undefined) return [];
  const { userid, password, mutual } = chap;
  return [userid, password.reveal(), ...(mutual === undefined ? [] : [mutual.userid, mutual.password.reveal()])];
}

/** The same for two worlds that differ only in what was made up on the way: handles, UUIDs, guids and secrets. */
export async function comparablePicture(world: World): Promise<WorldPicture> {
  const { volumes } = world.now.stores;
  const rows = [await volumes.find(subject), await volumes.find(copy)].filter((row) => row !== undefined);
  const madeUp = [
    ...rows.flatMap((row) => [row.handle, row.zvolGuid, row.filesystem?.uuid, ...row.attachments.flatMap(secretsOf)]),
    ...(await snapshotsIn(world)).sort(byContent).flatMap(({ id, handle, zfsGuid }) => [handle, zfsGuid, id.startsWith("snap_made") ? "" : id]),
  ];
  let text = JSON.stringify(await pictureOf(world));
  for (const [index, value] of madeUp.entries()) if (value !== undefined && value !== "") text = text.replaceAll(value, `made-up-${index}`);
  return sorted(JSON.parse(text)) as WorldPicture;
}

/** Their ids may be made up too: whose they are, and when they were taken, is not. */
function byContent(a: SnapshotRecord, b: SnapshotRecord): number {
  return a.volumeId === b.volumeId ? Number(a.createTxg) - Number(b.createTxg) : a.volumeId < b.volumeId ? -1 : 1;
}

/** A made-up name moves in the order of keys and of lists that are sorted by it. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(sorted);
    return items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, sorted(item)]));
}

interface Pools {
  readonly pools?: Readonly<Record<string, { available: string; readonly datasets: Record<string, DatasetPicture> }>>;
}

interface DatasetPicture {
  properties: Record<string, string>;
  content: { filesystem: { readonly uuid: string } | null; blocks: unknown } | null;
}

/** The filesystem on the subject's zvol, as it is and as zvol and row record it. */
export interface Formatting {
  readonly made: string | undefined;
  readonly marked: string | undefined;
  readonly recorded: boolean;
}

export async function formattingOf(world: World): Promise<Formatting> {
  const row = await world.now.stores.volumes.get(subject);
  const machines = world.sim.snapshot() as Readonly<Record<string, Pools>>;
  const dataset = machines[row.hostId]?.pools?.[row.pool]?.datasets[row.dataset];
  return {
    made: dataset?.content?.filesystem?.uuid,
    marked: dataset?.properties["zfsilo:formatted"],
    recorded: row.filesystem?.formatted ?? false,
  };
}

/** Without the subject's filesystem and its records: once made it stays, whatever becomes of the stage that made it. */
export async function unformatted(world: World, picture: WorldPicture): Promise<WorldPicture> {
  const row = await world.now.stores.volumes.get(subject);
  const copy = structuredClone(picture) as {
    machines: Record<string, Pools>;
    rows: Record<string, { filesystem?: { formatted: boolean; making?: boolean; layout?: object } | null }>;
  };
  const pool = copy.machines[row.hostId]?.pools?.[row.pool];
  const dataset = pool?.datasets[row.dataset];
  if (pool === undefined || dataset === undefined) throw new Error(`no ${row.dataset} in the picture`);
  pool.available = "";
  delete dataset.properties["zfsilo:formatted"];
  dataset.content = null;
  const { filesystem } = copy.rows[subject] ?? {};
  if (filesystem !== undefined && filesystem !== null) {
    filesystem.formatted = false;
    delete filesystem.making;
    delete filesystem.layout;
  }
  return copy;
}
