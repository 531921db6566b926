import { CommandError } from "@zfsilo/command";
import { describe, expect, it } from "vitest";
import { callOptions as o, ScriptedExecutor, type ScriptedRun } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { ZfsCopies } from "./copies.ts";
import { parseDatasetName } from "./names.ts";
import { volumeColumns } from "./parse.ts";
import { snapshotOf } from "./snapshot-name.ts";
import { snapshotColumns } from "./snapshot-parse.ts";

const snapshot = snapshotOf(parseDatasetName("tank/zfsilo/v9"), "s1");
const dataset = parseDatasetName("tank/zfsilo/v1");
const received = snapshotOf(dataset, "s1");
const owner = { volume: "vol_a", cluster: "cl_test" };
const spec = { snapshot, dataset, owner, userProperties: {}, options: {}, sparse: true };

const get = (columns: string, name: string): string => `zfs get -Hp -o name,property,value,source ${columns} tank ${name}`;
const snapshotText = readTestdata(import.meta.url, "list-snapshots.zfs-2.1.11.stdout.txt")
  .split("\n")
  .filter((line) => line.startsWith("tank/zfsilo/v1@s1\t"))
  .join("\n");
const poolOfSnapshots = readTestdata(import.meta.url, "get-snapshot-absent.zfs-2.1.11.stdout.txt");
const found = (name: string): ScriptedRun => ({
  argv: get(snapshotColumns, name),
  stdout: `${poolOfSnapshots}${snapshotText.replaceAll("tank/zfsilo/v1@s1", name)}\n`,
});
const missing = (name: string): ScriptedRun => ({
  argv: get(snapshotColumns, name),
  exitCode: 1,
  stdout: poolOfSnapshots,
  stderr: `cannot open '${name}': dataset does not exist\n`,
});
const absent: ScriptedRun = {
  argv: get(volumeColumns, dataset),
  exitCode: 1,
  stdout: readTestdata(import.meta.url, "get-volume-absent.zfs-2.1.11.stdout.txt"),
  stderr: `cannot open '${dataset}': dataset does not exist\n`,
};
const present: ScriptedRun = { argv: get(volumeColumns, dataset), stdout: readTestdata(import.meta.url, "get-volume-sparse.zfs-2.1.11.stdout.txt") };
const foreign: ScriptedRun = { ...present, stdout: (present.stdout ?? "").replace("vol_a", "vol_b") };
const size: ScriptedRun = { argv: `zfs send -nP ${snapshot}`, stdout: readTestdata(import.meta.url, "send-size.zfs-2.1.11.stdout.txt") };
const pipe: ScriptedRun = {
  argv: `zfs send ${snapshot} | zfs receive -o zfsilo:cluster=cl_test -o zfsilo:volume=vol_a ${dataset}`,
};
const destroy: ScriptedRun = { argv: `zfs destroy ${dataset}` };
const forget: ScriptedRun = { argv: `zfs destroy ${received}` };

async function copy(runs: readonly ScriptedRun[]): Promise<unknown> {
  const executor = new ScriptedExecutor({ runs });
  try {
    return await new ZfsCopies(executor).copy(spec, o);
  } finally {
    expect(executor.leftOver).toBe(0);
  }
}

describe("copy", () => {
  it("marks in the same command, proves what came, and lets the received snapshot go", async () => {
    const runs = [found(snapshot), absent, size, pipe, present, found(received), forget, missing(received)];
    expect(await copy(runs)).toMatchObject({ dataset, owner });
  });

  it("never receives over what is there", async () => {
    await expect(copy([found(snapshot), present])).rejects.toMatchObject({ reason: "already_exists" });
    const meanwhile = { ...pipe, exitCode: 1, producerExitCode: 141, stderr: readTestdata(import.meta.url, "receive-exists.zfs-2.1.11.exit-1.stderr.txt") };
    // Somebody else made it in between: it is left alone.
    await expect(copy([found(snapshot), absent, size, meanwhile])).rejects.toMatchObject({ reason: "already_exists" });
  });

  it.each([
    ["the receiver", { exitCode: 1, producerExitCode: 141, stderr: "cannot receive new filesystem stream: out of space\n" }, "no_space"],
    ["the sender", { exitCode: 0, producerExitCode: 1, stderr: "warning: cannot send 'x': Input/output error\n" }, "internal"],
  ])("destroys what %s left when it fails", async (_, failure, reason) => {
    const runs = [found(snapshot), absent, size, { ...pipe, ...failure }, present, destroy, absent];
    await expect(copy(runs)).rejects.toMatchObject({ reason });
    await expect(copy([found(snapshot), absent, size, { ...pipe, ...failure }, absent])).rejects.toMatchObject({ reason });
    await expect(copy([found(snapshot), absent, size, { ...pipe, ...failure }, foreign])).rejects.toMatchObject({ reason });
  });

  it("destroys what a lost connection left", async () => {
    const lost = { ...pipe, error: new CommandError("unavailable", "give", ["zfs"], "unknown", new Error("lost")) };
    await expect(copy([found(snapshot), absent, size, lost, present, destroy, absent])).rejects.toMatchObject({ reason: "unavailable" });
  });

  it("does not trust a volume whose snapshot is another's", async () => {
    const other = { ...found(received), stdout: (found(received).stdout ?? "").replace("7627631462412141790", "1") };
    await expect(copy([found(snapshot), absent, size, pipe, present, other])).rejects.toMatchObject({ reason: "internal" });
    await expect(copy([found(snapshot), absent, size, pipe, foreign])).rejects.toMatchObject({ reason: "precondition" });
  });
});
