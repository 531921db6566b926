import { parseVolumeId } from "@zfsilo/lib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { requestCreate } from "../../src/volume/create.ts";
import { requestDelete } from "../../src/volume/delete.ts";
import { createInput } from "../world/ladder.ts";
import { World } from "../world/world.ts";

const count = 30;
const ids = Array.from({ length: count }, (_, index) => parseVolumeId(`vol_burst_${index}`));
/** No more are at work at a time. */
const atWork = 3;

let world: World;
beforeEach(async () => {
  world = await World.open();
  await requestCreate(world.requests, createInput(parseVolumeId("vol_first"), "ext4"));
});
afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

/** Asks for all at once. Tells in which order operations began, calls were answered, and how many had begun at the first answer. */
async function burst(ask: (id: (typeof ids)[number]) => Promise<unknown>) {
  const begun: string[] = [];
  const answered: string[] = [];
  let begunAtFirst = 0;
  world.hooks.step = (entry, _step, work) => {
    if (!begun.includes(entry.subject)) begun.push(entry.subject);
    return work();
  };
  await Promise.all(ids.map(async (id) => {
    await ask(id);
    begunAtFirst ||= begun.length;
    answered.push(`volumes/${id}`);
  }));
  return { begun, answered, begunAtFirst };
}

const asked = ids.map((id) => `volumes/${id}`);

function expectInOrder({ begun, answered, begunAtFirst }: Awaited<ReturnType<typeof burst>>): void {
  // What is read of each before it asks for its turn may come a little earlier or later.
  begun.forEach((name, place) => {
    expect(Math.abs(asked.indexOf(name) - place)).toBeLessThan(atWork);
  });
  // The place of the first one that is done has gone to the next.
  expect(begunAtFirst).toBeLessThanOrEqual(atWork + 1);
  answered.forEach((name, place) => {
    expect(Math.abs(asked.indexOf(name) - place)).toBeLessThan(2 * atWork);
  });
}

describe("many calls at once are done one after another, first come first served", () => {
  it.each([["named", {}], ["not named", { hostId: undefined }]])("creates, the host %s", async (_name, where) => {
    expectInOrder(await burst((id) => requestCreate(world.requests, { ...createInput(id, "ext4"), ...where })));
  });

  it("deletes", async () => {
    for (const id of ids) await requestCreate(world.requests, createInput(id, "ext4"));
    expectInOrder(await burst((id) => requestDelete(world.requests, id, false)));
  });
});
