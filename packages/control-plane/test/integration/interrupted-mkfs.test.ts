import type { Argv } from "@zfsilo/command";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { requestConnect, requestDisconnect } from "../../src/volume/connect.ts";
import { requestRollback } from "../../src/volume/rollback.ts";
import { requestCreateSnapshot } from "../../src/volume/snapshot.ts";
import { requestStage, requestUnstage } from "../../src/volume/stage.ts";
import { climb, first, snapshotInput, stageInput, subject, take } from "../world/ladder.ts";
import { World } from "../world/world.ts";

/** A kill, a power cut or a lost agent in the middle of mkfs leaves no volume that is refused for good, and costs nobody's data. */
describe.each(["ext4", "xfs"] as const)("when mkfs.%s is interrupted", (type) => {
  let world: World;

  beforeEach(async () => {
    world = await World.open();
    await climb(world.requests, subject, type, "connected");
  });
  afterEach(async () => {
    await world[Symbol.asyncDispose]();
  });

  const options = { signal: new AbortController().signal };
  const stage = () => requestStage(world.requests, subject, stageInput(subject));
  const unstage = () => requestUnstage(world.requests, subject, take);
  const volume = () => world.now.stores.volumes.get(subject);
  const interrupt = async (times = 1): Promise<void> => {
    world.sim.faults.add({ match: { program: `mkfs.${type}` }, times, effect: { kind: "interrupt" } });
    for (let attempt = 0; attempt < times; attempt += 1) await expect(stage()).rejects.toMatchObject({ reason: "unavailable" });
  };
  const writeByHand = async (content: string): Promise<void> => {
    const path = `/dev/zvol/${(await volume()).dataset}`;
    await world.sim.executor("hst_give").files([{ op: "write", path, content }], options);
  };
  const content = async () => {
    const argv: Argv = ["blkid", "-p", "-o", "export", `/dev/zvol/${(await volume()).dataset}`];
    return (await world.sim.executor("hst_give").run(argv, options)).stdout;
  };
  const refused = { reason: "precondition", details: { reason: "NOT_BLANK" } };

  it("the next call makes it anew, however often that happens, and what is written then stays", async () => {
    await interrupt(3);
    await stage();
    const file = { op: "write", path: `${stageInput(subject).stagingPath}/f`, content: "data", create: { mode: 0o600 } } as const;
    await world.sim.executor("hst_take").files([file], options);
    await unstage();
    await stage();
    const [read] = await world.sim.executor("hst_take").files([{ op: "read", path: file.path }], options);
    expect(read?.text).toBe("data");
    expect((await volume()).filesystem).toMatchObject({ formatted: true, making: false });
  });

  it("a control plane that died with it makes it anew", async () => {
    world.sim.faults.add({ match: { program: `mkfs.${type}` }, effect: { kind: "interrupt" } });
    await new Promise<void>((resolve) => {
      world.hooks.command = async (_host, work) => {
        try {
          return await work();
        } catch {
          world.now.life.end();
          resolve();
          return new Promise(() => undefined);
        }
      };
      void stage().catch(() => undefined);
    });
    world.hooks.command = undefined;
    await world.crash();
    await world.now.operations.retryUnfinished();
    await stage();
    expect((await volume()).filesystem).toMatchObject({ formatted: true });
  });

  it("a filesystem that somebody else made since is left alone", async () => {
    await interrupt();
    await writeByHand("\0".repeat(1 << 20));
    const [disk] = await world.sim.executor("hst_take").files([{ op: "list", path: "/sys/block" }], options);
    await world.sim.executor("hst_take").run(["mkfs.ext4", "-q", `/dev/${disk?.entries?.[0] ?? ""}`], options);
    const before = await content();
    await expect(stage()).rejects.toMatchObject(refused);
    expect(await content()).toBe(before);
  });

  it("data on a volume where none was begun is left alone", async () => {
    await writeByHand("data");
    await expect(stage()).rejects.toMatchObject(refused);
  });

  it("data on a volume that was rolled back since is left alone", async () => {
    await requestCreateSnapshot(world.requests, snapshotInput(first));
    await interrupt();
    await requestDisconnect(world.requests, subject, take, false);
    await requestRollback(world.requests, subject, { snapshotId: first, destroyLater: true });
    await requestConnect(world.requests, subject, take, false);
    await writeByHand("data");
    await expect(stage()).rejects.toMatchObject(refused);
  });
});
