import { bytes, Secret } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { parseHostPath } from "../mount/host-path.ts";
import { callOptions, ScriptedExecutor, type ScriptedRun } from "../testing/scripted-executor.ts";
import { encryptionArguments, keyInput, parseEncryptionAlgorithm, ZfsKeys, type KeySource } from "./encryption.ts";
import { parseDatasetName } from "./names.ts";
import { eachZvol } from "./parse.ts";

const digits = "5a".repeat(32);
const typed: KeySource = { hex: new Secret(digits) };
const filed: KeySource = { file: parseHostPath("/etc/zfsilo/keys/a") };
const dataset = parseDatasetName("tank/e1");
const status = (stdout: string): ScriptedRun => ({ argv: "zfs get -Hp -o value keystatus tank/e1", stdout: `${stdout}\n` });
const refused = (argv: string, stderr: string): ScriptedRun => ({ argv, exitCode: 255, stderr: `${stderr}\n` });

describe("encryption", () => {
  it("has a key on standard input, and only there", () => {
    expect(encryptionArguments({ algorithm: "aes-256-gcm", key: typed })).toEqual([
      ...["-o", "encryption=aes-256-gcm", "-o", "keyformat=hex", "-o", "keylocation=prompt"],
    ]);
    expect(keyInput(typed)).toEqual({ stdin: `${digits}\n` });
    expect(encryptionArguments({ algorithm: "aes-128-ccm", key: filed })).toContain("keylocation=file:///etc/zfsilo/keys/a");
    expect(keyInput(filed)).toEqual({});
  });

  it("knows the algorithms of ZFS, and no other", () => {
    expect(parseEncryptionAlgorithm("aes-192-ccm")).toBe("aes-192-ccm");
    for (const bad of ["", "on", "aes-256", "AES-256-GCM"]) expect(() => parseEncryptionAlgorithm(bad)).toThrow(/^encryption\.algorithm: /);
  });

  it("is read with a volume", () => {
    const sizes = "used,available,referenced,logicalused,volsize,volblocksize,refreservation".split(",").map((name) => [name, "8192"]);
    const read = (more: readonly (readonly string[])[]): unknown => {
      const facts = [["guid", "1"], ["creation", "1"], ["origin", "-"], ...sizes, ...more];
      const [zvol] = eachZvol(facts.map(([name = "", value = ""]) => `tank/e1\t${name}\t${value}\t-\n`).join(""));
      expect(zvol?.sizeBytes).toBe(bytes(8192));
      return zvol?.encryption;
    };
    // Seen on 2.1.11: after unload-key, and of a volume without encryption.
    expect(read([["encryption", "aes-256-gcm"], ["keystatus", "unavailable"], ["encryptionroot", "tank/e0"]])).toEqual({ algorithm: "aes-256-gcm", root: "tank/e0", locked: true });
    expect(read([["encryption", "off"], ["keystatus", "-"], ["encryptionroot", "-"]])).toBeUndefined();
  });
});

describe("keys", () => {
  it("that are loaded already are verified", async () => {
    const again = refused("zfs load-key tank/e1", "Key load error: Key already loaded for 'tank/e1'.");
    const give = new ScriptedExecutor({
      runs: [
        again,
        { argv: "zfs load-key -n tank/e1", stdout: "1 / 1 key(s) successfully verified\n" },
        status("available"),
        again,
        refused("zfs load-key -n tank/e1", "Key load error: Incorrect key provided for 'tank/e1'.\n0 / 1 key(s) successfully verified"),
      ],
    });
    await new ZfsKeys(give).load(dataset, typed, callOptions);
    await expect(new ZfsKeys(give).load(dataset, typed, callOptions)).rejects.toMatchObject({ reason: "invalid_argument" });
    expect(give.leftOver).toBe(0);
    expect(give.log.join("\n")).not.toContain(digits);
  });

  it("are read back after they were loaded and unloaded", async () => {
    const give = new ScriptedExecutor({
      runs: [
        { argv: "zfs load-key tank/e1" },
        status("unavailable"),
        refused("zfs unload-key tank/e1", "Key unload error: Key already unloaded for 'tank/e1'."),
        status("unavailable"),
        refused("zfs unload-key tank/e1", "Key unload error: 'tank/e1' is busy."),
      ],
    });
    await expect(new ZfsKeys(give).load(dataset, typed, callOptions)).rejects.toMatchObject({ reason: "internal" });
    await new ZfsKeys(give).unload(dataset, callOptions);
    await expect(new ZfsKeys(give).unload(dataset, callOptions)).rejects.toMatchObject({ reason: "busy" });
  });

  it.each([
    ["file:///etc/zfsilo/keys/a\n", "/etc/zfsilo/keys/a"],
    ["prompt\n", "prompt"],
  ])("are found where %j says", async (stdout, location) => {
    const give = new ScriptedExecutor({ runs: [{ argv: "zfs get -Hp -o value keylocation tank/e1", stdout }] });
    expect(await new ZfsKeys(give).location(dataset, callOptions)).toBe(location);
  });
});
