import type { VolumeId } from "@zfsilo/lib";
import type { AttachmentRecord, VolumeRecord } from "../../src/store/model.ts";
import { bystander, give, subject, take, tap } from "./ladder.ts";
import type { World } from "./world.ts";

/** Plain JSON: what the machines and the database hold, but for times, counters and the journal. */
export type WorldPicture = Readonly<Record<string, unknown>>;

export async function pictureOf(world: World, ids: readonly VolumeId[] = [subject, bystander]): Promise<WorldPicture> {
  const { volumes } = world.now.stores;
  const rows = await Promise.all(ids.map((id) => volumes.find(id)));
  const counts = await Promise.all([give, take, tap].map((host) => volumes.countOn(host)));
  return {
    machines: withoutDefaults(world.sim.snapshot()),
    rows: Object.fromEntries(ids.map((id, index) => [id, rowPicture(rows[index])])),
    // Also what no row of the known ones explains.
    counts,
  };
}

/** What LIO has before anybody writes it (iscsi_target_core.h, 6.1): written or not makes no difference. */
const targetDefaults: Readonly<Record<string, string>> = { "attrib/authentication": "1", "attrib/generate_node_acls": "0" };

function withoutDefaults(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDefaults);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([key, item]) => targetDefaults[key] !== item);
  return Object.fromEntries(kept.map(([key, item]) => [key, withoutDefaults(item)]));
}

function rowPicture(volume: VolumeRecord | undefined): unknown {
  if (volume === undefined) return null;
  const { revision: _revision, generation: _generation, createdAt: _created, updatedAt: _updated, ...rest } = volume;
  // A condition tells what the reconciler saw last: it changes by looking, not by acting.
  const { capacityBytes, attachments, condition: _condition, ...plain } = rest;
  return { ...plain, capacityBytes: capacityBytes.toString(), attachments: attachments.map(attachmentPicture) };
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
  const row = await world.now.stores.volumes.find(subject);
  const madeUp = row === undefined ? [] : [row.handle, row.zvolGuid, row.filesystem?.uuid, ...row.attachments.flatMap(secretsOf)];
  let text = JSON.stringify(await pictureOf(world));
  for (const [index, value] of madeUp.entries()) if (value !== undefined && value !== "") text = text.replaceAll(value, `made-up-${index}`);
  return sorted(JSON.parse(text)) as WorldPicture;
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
    rows: Record<string, { filesystem?: { formatted: boolean } }>;
  };
  const pool = copy.machines[row.hostId]?.pools?.[row.pool];
  const dataset = pool?.datasets[row.dataset];
  if (pool === undefined || dataset === undefined) throw new Error(`no ${row.dataset} in the picture`);
  pool.available = "";
  delete dataset.properties["zfsilo:formatted"];
  dataset.content = null;
  const { filesystem } = copy.rows[subject] ?? {};
  if (filesystem !== undefined) filesystem.formatted = false;
  return copy;
}
