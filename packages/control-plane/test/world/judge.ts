import { isDeepStrictEqual } from "node:util";
import { expect } from "vitest";
import { subject } from "./ladder.ts";
import { comparablePicture, formattingOf, pictureOf, unformatted } from "./picture.ts";
import { statusIn, type Recording } from "./record.ts";
import type { World } from "./world.ts";

export type Outcome = "succeeded" | "failed";

export async function attempt({ example }: Recording, world: World): Promise<Outcome> {
  try {
    await example.request(world.requests);
    return "succeeded";
  } catch {
    return "failed";
  }
}

/** Nothing of a call that failed is left: no piece on a host, no row, no open operation. */
export async function expectAsBefore(recording: Recording, world: World): Promise<void> {
  expect(await world.now.stores.operations.listOpen()).toEqual([]);
  const picture = await pictureOf(world);
  if (recording.example.kind !== "volume.stage") {
    expect(picture).toEqual(recording.before);
    return;
  }
  expect(await unformatted(world, picture)).toEqual(await unformatted(world, recording.before));
  const { made, marked, recorded } = await formattingOf(world);
  if (marked !== undefined) expect(marked).toContain(made ?? "no filesystem");
  if (recorded) expect(marked).toBeDefined();
}

/** After a failure the same call, made again, leads where the undisturbed one led, and never formats twice. */
export async function expectRetryArrives(recording: Recording, world: World): Promise<void> {
  world.sim.faults.clear();
  const { example } = recording;
  const formatted = example.kind === "volume.stage" ? (await formattingOf(world)).made : undefined;
  const made = countMade(world);
  await example.request(world.requests);
  if (formatted !== undefined) expect(countMade(world)).toBe(made);
  await expectArrived(recording, world);
}

export async function expectArrived(recording: Recording, world: World): Promise<void> {
  expect(await statusIn(world)).toBe(recording.example.leadsTo);
  expect(await comparablePicture(world)).toEqual(recording.after);
  expect(await world.now.stores.operations.listOpen()).toEqual([]);
}

/** What holds after a call that was disturbed once, however it ended. */
export async function expectNothingHalfDone(recording: Recording, world: World, outcome: Outcome): Promise<void> {
  if (outcome === "succeeded") {
    await expectArrived(recording, world);
    return;
  }
  if (recording.buildsUp) await expectAsBefore(recording, world);
  await expectRetryArrives(recording, world);
}

/** After a restart an operation either happened or did not; then the call made again arrives. */
export async function expectRecovered(recording: Recording, world: World): Promise<void> {
  await expectDoneOrUndone(recording, world);
  await expectRetryArrives(recording, world);
}

/** Nothing is open, and of a build-up there is all or nothing. */
export async function expectDoneOrUndone(recording: Recording, world: World): Promise<void> {
  expect(await world.now.stores.operations.listOpen()).toEqual([]);
  if (recording.buildsUp && !isDeepStrictEqual(await comparablePicture(world), recording.after)) await expectAsBefore(recording, world);
}

function countMade(world: World): number {
  const made = world.sim.calls("hst_take").latest.filter((call) => "argv" in call && call.argv[0].startsWith("mkfs."));
  return made.length;
}

/** The volume as an answer shows it, without what every write changes. */
export async function currentVolume(world: World): Promise<unknown> {
  return world.now.stores.volumes.find(subject);
}
