import { describe, expect, it } from "vitest";
import { callOptions, ScriptedExecutor } from "../testing/scripted-executor.ts";
import { readTestdata } from "../testing/testdata.ts";
import { parseDatasetName, parsePoolName } from "../zfs/names.ts";
import { parseFacts, Zpools } from "./zpools.ts";

const read = "zfs get -Hp -o name,property,value,source type,available,used,referenced,quota,reservation";
const space = (name: string, quota = "0"): string =>
  ["type\tfilesystem", "available\t500", "used\t7", "referenced\t5", `quota\t${quota}`, "reservation\t0"].map((line) => `${name}\t${line}\t-\n`).join("");

describe("Zpools", () => {
  it("reads pools, also one too broken to be measured", () => {
    expect(parseFacts("tank\t16449\t8053063680\t136704\t8052926976\t3\tONLINE\toff\t12\nsick\t7\t-\t-\t-\t-\tFAULTED\t-\t0\n")).toMatchObject([
      { name: "tank", sizeBytes: 8_053_063_680n, fragmentationPercent: 3, health: "ONLINE", readonly: false, ashift: 12 },
      { name: "sick", sizeBytes: 0n, fragmentationPercent: 0, health: "FAULTED", readonly: false, ashift: 0 },
    ]);
  });

  it("reads the status of the pool that was asked for, and no other", async () => {
    const stdout = readTestdata(import.meta.url, "status-disk.zfs-2.1.11.stdout.txt");
    const give = new ScriptedExecutor({ runs: [{ argv: "zpool status -p tank", stdout }, { argv: "zpool status -p other", stdout }] });
    const pools = new Zpools(give);
    expect(await pools.status(parsePoolName("tank"), callOptions)).toMatchObject({ name: "tank", state: "ONLINE" });
    await expect(pools.status(parsePoolName("other"), callOptions)).rejects.toMatchObject({ reason: "internal" });
  });

  it("leaves out datasets that are not there, and notices when one is passed over", async () => {
    const stderr = "cannot open 'tank/none': dataset does not exist\n";
    const argv = `${read} tank tank/none`;
    const give = new ScriptedExecutor({
      runs: [
        { argv, stdout: space("tank"), stderr, exitCode: 1 },
        { argv, stdout: space("tank") },
      ],
    });
    const names = [parseDatasetName("tank"), parseDatasetName("tank/none")] as const;
    const found = await new Zpools(give).spaces([...names], callOptions);
    expect([...found.keys()]).toEqual(["tank"]);
    await expect(new Zpools(give).spaces([...names], callOptions)).rejects.toMatchObject({ reason: "internal" });
  });

  it("sets a quota and reads it back", async () => {
    const dataset = parseDatasetName("tank/zfsilo");
    const give = new ScriptedExecutor({
      runs: [
        { argv: "zfs set quota=1000 tank/zfsilo" },
        { argv: `${read} tank/zfsilo`, stdout: space("tank/zfsilo", "1000") },
        { argv: "zfs set quota=none tank/zfsilo" },
        { argv: `${read} tank/zfsilo`, stdout: space("tank/zfsilo", "1000") },
        {
          argv: "zfs set quota=5 tank/zfsilo",
          exitCode: 1,
          stderr: "cannot set property for 'tank/zfsilo': size is less than current used or reserved space\n",
        },
      ],
    });
    await new Zpools(give).setQuota(dataset, 1000n, callOptions);
    await expect(new Zpools(give).setQuota(dataset, 0n, callOptions)).rejects.toMatchObject({ reason: "internal" });
    await expect(new Zpools(give).setQuota(dataset, 5n, callOptions)).rejects.toMatchObject({ reason: "precondition" });
    expect(give.leftOver).toBe(0);
  });
});
