import { describe, expect, it } from "vitest";
import { callOptions as o, ScriptedExecutor, type ScriptedRun } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { parseDatasetName } from "./names.ts";
import { ZfsRanges } from "./ranges.ts";
import { snapshotOf } from "./snapshot-name.ts";
import { snapshotColumns } from "./snapshot-parse.ts";

const snapshot = snapshotOf(parseDatasetName("tank/zfsilo/v1"), "s1");
/** `toguid` of the captured dump. */
const guid = BigInt("0x2492dab18066e489").toString();

const found: ScriptedRun = {
  argv: `zfs get -Hp -o name,property,value,source ${snapshotColumns} tank ${snapshot}`,
  stdout:
    readTestdata(import.meta.url, "get-snapshot-absent.zfs-2.1.11.stdout.txt") +
    readTestdata(import.meta.url, "list-snapshots.zfs-2.1.11.stdout.txt")
      .split("\n")
      .filter((line) => line.startsWith(`${snapshot}\t`))
      .map((line) => `${line.replace("7627631462412141790", guid)}\n`)
      .join(""),
};
const dump = Buffer.from(readTestdata(import.meta.url, "send-w-a.zstream-2.1.11.stdout.txt"));
const stream: ScriptedRun = { argv: `zfs send ${snapshot} | zstream dump -Cv`, pieces: [dump.subarray(0, 900), dump.subarray(900)] };

async function allocated(run: ScriptedRun): Promise<[number, number][]> {
  const executor = new ScriptedExecutor({ runs: [found, run] });
  const ranges: [number, number][] = [];
  for await (const batch of new ZfsRanges(executor).allocated(snapshot, {}, o)) {
    ranges.push(...batch.map(({ offset, length }): [number, number] => [Number(offset), Number(length)]));
  }
  expect(executor.leftOver).toBe(0);
  return ranges;
}

describe("ranges", () => {
  it("come from what zstream prints of the stream", async () => {
    expect(await allocated(stream)).toEqual([[0, 16384], [81920, 8192], [1040384, 8192]]);
  });

  it("are refused where there is no zstream, with what to do", async () => {
    const missing = { ...stream, pieces: [], exitCode: 127, stderr: "sh: 7: zstream: not found\n" };
    await expect(allocated(missing)).rejects.toMatchObject({ reason: "precondition", hint: expect.stringContaining("Install zstream on give") as string });
  });

  it("fail as the send does, also when zstream found nothing wrong with it", async () => {
    const gone = { ...stream, pieces: [Buffer.from("SUMMARY:\n")], exitCode: 1, stderr: readTestdata(import.meta.url, "send-absent.zfs-2.1.11.exit-1.stderr.txt") };
    await expect(allocated(gone)).rejects.toMatchObject({ reason: "not_found" });
  });

  it.each([
    ["an empty dump", "SUMMARY:\n"],
    ["a dump without its end", dump.toString().replace(/^END .*\n/m, "")],
    ["a dump of another snapshot", dump.toString().replace("2492dab18066e489", "2492dab18066e480")],
    ["a line that is not known", dump.toString().replace(/^WRITE/m, "REWRITE")],
  ])("fail with %s", async (_what, text) => {
    await expect(allocated({ ...stream, pieces: [Buffer.from(text)] })).rejects.toMatchObject({ name: "CommandOutputError", reason: "internal" });
  });
});
