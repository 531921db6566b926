import { describe, expect, it } from "vitest";
import { requestDisconnect } from "../../src/volume/connect.ts";
import { cases, type Case } from "../world/cases.ts";
import { commandsOnTake, dieDuring, expectForced, expectFree, type Death } from "../world/dead-host.ts";
import { subject, take, Worlds } from "../world/ladder.ts";

const names = [
  "connect (ext4)",
  "stage for the first time (ext4)",
  "stage for the first time (block)",
  "stage again",
  "mount (ext4)",
  "mount (block)",
  "unmount (ext4)",
  "unstage (ext4)",
  "disconnect (ext4)",
  "take a snapshot of a frozen filesystem",
  "take a group of snapshots of frozen filesystems",
  "expand when mounted (ext4)",
];

const grounds = await Promise.all(
  names.map(async (name) => {
    const example = cases.find((one) => one.name === name);
    if (example === undefined) throw new Error(`no case is called ${name}`);
    const worlds = new Worlds(example.ground);
    await using world = await worlds.open();
    return { name, example, worlds, commands: await commandsOnTake(world, example) };
  }),
);

interface Ground {
  readonly example: Case;
  readonly worlds: Worlds;
  readonly commands: number;
}

describe.each(grounds.map((ground) => [ground.name, ground] as const))("the initiator dies during: %s", (_name, ground) => {
  const deaths = Array.from({ length: ground.commands }, (_, index) => index + 1).flatMap((nth) =>
    (["silent", "hung"] as const).map((death) => [nth, death] as const),
  );
  it.each(deaths)("at its command %i (%s), and force frees the volume", (nth, death) => forceAfter(ground, nth, death));
});

async function forceAfter({ example, worlds }: Ground, nth: number, death: Death): Promise<void> {
  await using world = await worlds.open();
  await dieDuring(world, example, nth, death);
  await expectForced(world);
  await expectFree(world, nth % 2 === 0 ? "connect" : "delete");
}

/** SIGKILL while force is at it: made again it frees the volume. */
describe.each(["connect (ext4)", "stage for the first time (ext4)", "mount (ext4)", "take a snapshot of a frozen filesystem"])("force after: %s", (name) => {
  const ground = grounds.find((one) => one.name === name)!;

  it.each(["command", "journal"] as const)("the process dies before and after each %s", async (what) => {
    let nth = 1;
    while (await dieForcing(ground, what, nth)) nth += 1;
    expect(nth).toBeGreaterThan(1);
  });
});

/** Answers whether there was an nth command or journal write to die at. */
async function dieForcing(ground: Ground, what: "command" | "journal", nth: number): Promise<boolean> {
  const outcomes = await Promise.all((["before", "after"] as const).map((when) => dieAt(ground, what, nth, when)));
  return outcomes.includes("died");
}

async function dieAt({ example, worlds, commands }: Ground, what: "command" | "journal", nth: number, when: "before" | "after"): Promise<"died" | "done"> {
  await using world = await worlds.open();
  await dieDuring(world, example, commands, "silent");
  const death = new Promise<"died">((resolve) => {
    let count = 0;
    const around = async <T>(work: () => Promise<T>): Promise<T> => {
      count += 1;
      if (count !== nth) return work();
      if (when === "after") await work().catch(() => undefined);
      world.now.life.end();
      resolve("died");
      return new Promise(() => undefined);
    };
    if (what === "command") world.hooks.command = (_host, work) => around(work);
    else world.hooks.journal = (_entry, write) => around(write);
  });
  const outcome = await Promise.race([death, requestDisconnect(world.requests, subject, take, true).then(() => "done" as const)]);
  Object.assign(world.hooks, { command: undefined, journal: undefined });
  if (outcome === "done") return outcome;
  await world.crash();
  await world.now.operations.retryUnfinished();
  await expectForced(world);
  await expectFree(world, "connect");
  return outcome;
}
