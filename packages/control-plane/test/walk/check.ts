import { parseHostId, parseVolumeId, type VolumeId } from "@zfsilo/lib";
import assert from "node:assert/strict";
import { compareVolume } from "../../src/reconcile/compare.ts";
import { observeVolume } from "../../src/reconcile/observe.ts";
import type { VolumeRecord } from "../../src/store/model.ts";
import { capacityBytes, targetPathOf } from "../world/ladder.ts";
import type { World } from "../world/world.ts";
import { walkHosts, type Model, type WalkVolume } from "./model.ts";
import { grownBytes } from "./walk.ts";

/** Rows say what the model says, hosts have what the rows say, and nothing besides. */
export async function expectWorldIs(
  world: World,
  models: ReadonlyMap<WalkVolume, Model>,
  { content = true }: { readonly content?: boolean } = {},
): Promise<void> {
  const { stores, requests } = world.now;
  assert.deepEqual(await stores.operations.listOpen(), [], "no operation is open");
  assert.deepEqual(await stores.leftovers.all(), [], "no initiator has to be cleaned");
  for (const [name, model] of models) {
    const id = parseVolumeId(name);
    const row = await stores.volumes.find(id);
    assert.deepEqual(modelOf(row), model, `${name} as recorded`);
    if (row === undefined) continue;
    const hosts = walkHosts.map((host) => parseHostId(host));
    const seen = await observeVolume(requests, row, hosts, new AbortController().signal);
    const differences = compareVolume(row, seen, requests.clusterId);
    assert.deepEqual(differences, [], `${name} on its hosts`);
    if (content) await expectContent(world, id, model);
  }
  expectNothingBesides(world, [...models.values()].filter((model) => model !== undefined));
}

export function modelOf(row: VolumeRecord | undefined): Model {
  if (row === undefined) return undefined;
  assert.equal(row.state, "ready");
  assert.ok([capacityBytes, grownBytes].includes(row.capacityBytes));
  const attached = row.attachments.map(({ hostId, state, stagingPath, targetPaths }) => {
    const mounted = targetPaths.length > 0;
    const staged = stagingPath !== "";
    assert.equal(state, mounted ? "mounted" : staged ? "staged" : "connected");
    return [hostId, { staged, mounted }];
  });
  return { published: row.published, grown: row.capacityBytes === grownBytes, attached: Object.fromEntries(attached) as object };
}

const text = "written once, kept for good";

/** What was written when a filesystem was first mounted is there whenever it is mounted again. */
async function expectContent(world: World, id: VolumeId, model: Model): Promise<void> {
  const row = await world.now.stores.volumes.get(id);
  if (row.mode === "block") return;
  const host = walkHosts.find((candidate) => model?.attached[candidate]?.mounted === true);
  if (host === undefined) return;
  const { executor } = await world.requests.machines.get(parseHostId(host));
  const path = `${targetPathOf(id)}/kept`;
  const options = { signal: new AbortController().signal };
  const [found] = await executor.files([{ op: "read", path, tolerate: ["ENOENT"] }], options);
  if (written.has(row.handle)) assert.equal(found?.text, text, `the content of ${id}`);
  else await executor.files([{ op: "write", path, content: text, create: { mode: 0o600 } }], options);
  written.add(row.handle);
}

/** Handles are never used twice, so that walks cannot mistake each other's volumes. */
const written = new Set<string>();

interface Machine {
  readonly pools: Readonly<Record<string, { readonly datasets: Readonly<Record<string, { readonly type: string }>> }>>;
  readonly backstores: object;
  readonly targets: object;
  readonly sessions: readonly string[];
  readonly mounts: readonly { readonly device: boolean; readonly at: string }[];
  readonly files: Readonly<Record<string, unknown>>;
}

function expectNothingBesides(world: World, models: readonly NonNullable<Model>[]): void {
  const machines = Object.values(world.sim.snapshot() as unknown as Readonly<Record<string, Machine>>);
  const attached = models.flatMap((model) => Object.values(model.attached));
  const zvols = machines.flatMap(({ pools }) => Object.values(pools).flatMap(({ datasets }) => Object.values(datasets)));
  const files = machines.flatMap((machine) => Object.keys(machine.files));
  const count = (of: (machine: Machine) => number): number => machines.reduce((sum, machine) => sum + of(machine), 0);
  const published = models.filter((model) => model.published).length;
  assert.deepEqual(
    {
      zvols: zvols.filter(({ type }) => type === "volume").length,
      backstores: count(({ backstores }) => Object.keys(backstores).length),
      targets: count(({ targets }) => Object.keys(targets).length),
      sessions: count(({ sessions }) => sessions.length),
      records: files.filter((path) => /^\/etc\/iscsi\/nodes\/[^/]+\/[^/]+\/default$/.test(path)).length,
    },
    { zvols: models.length, backstores: published, targets: published, sessions: attached.length, records: attached.length },
    "pieces on hosts",
  );
}
