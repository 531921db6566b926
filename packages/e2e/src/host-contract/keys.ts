import { parseDatasetName, parseHostPath, zvolPath, type EncryptionSpec, type KeySource } from "@zfsilo/host";
import { Secret } from "@zfsilo/lib";
import { describe, expect, it } from "vitest";
import { mib, type CurrentLab, type Lab, type Volume } from "./lab.ts";
import { refusal } from "./refusal.ts";

const hex = (byte: string): KeySource => ({ hex: new Secret(byte.repeat(32)) });
const right = hex("5a");
const wrong = hex("a5");
const keyFile = parseHostPath("/run/contract-key");

async function encrypted(lab: Lab, encryption: EncryptionSpec): Promise<Omit<Volume, "zvol" | "spec">> {
  const named = lab.newOwner();
  const { dataset, owner } = named;
  const userProperties = { "zfsilo:volume": owner.volume, "zfsilo:cluster": owner.cluster } as const;
  lab.defer(() => lab.zfs.destroyOwnedVolume(dataset, owner, lab.o));
  await lab.zfs.createVolume({ dataset, sizeBytes: mib(64), sparse: true, options: {}, encryption, userProperties }, lab.o);
  return named;
}

async function putKey(lab: Lab, content: string): Promise<void> {
  const { target } = lab.byHand;
  await target.files([{ op: "write", path: keyFile, content, create: { mode: 0o600 }, secret: true }], lab.o);
  lab.defer(async () => {
    await target.files([{ op: "unlink", path: keyFile, tolerate: ["ENOENT"] }], lab.o);
  });
}

/** Native encryption: what is there without the key, and what each mistake is answered with. */
export function keyContract(current: CurrentLab): void {
  describe("keys", () => {
    it("locks and opens a volume: without its key it has no device and cannot grow", async () => {
      const lab = current();
      const { zfs, keys, zvols, o } = lab;
      const { dataset } = await encrypted(lab, { algorithm: "aes-256-gcm", key: right });
      expect((await zfs.getVolume(dataset, o)).encryption).toEqual({ algorithm: "aes-256-gcm", root: dataset, locked: false });
      expect(await keys.location(dataset, o)).toBe("prompt");
      await zvols.awaitZvolDevice(dataset, o);
      await keys.unload(dataset, o);
      await keys.unload(dataset, o);
      expect((await zfs.getVolume(dataset, o)).encryption).toMatchObject({ locked: true });
      const link = { op: "readlink", path: zvolPath(dataset), tolerate: ["ENOENT"] } as const;
      await expect.poll(async () => (await lab.byHand.target.files([link], o))[0]?.errno, { timeout: 10_000 }).toBe("ENOENT");
      expect(await refusal(zfs.growVolume(dataset, mib(128), o))).toBe("permission_denied");
      await keys.load(dataset, right, o);
      await zvols.awaitZvolDevice(dataset, o);
      expect((await zfs.getVolume(dataset, o)).encryption).toMatchObject({ locked: false });
    });

    it("answers to the right key alone, loaded or not", async () => {
      const lab = current();
      const { keys, o } = lab;
      const { dataset } = await encrypted(lab, { algorithm: "aes-128-ccm", key: right });
      await keys.load(dataset, right, o);
      expect(await refusal(keys.load(dataset, wrong, o))).toBe("invalid_argument");
      await keys.unload(dataset, o);
      expect(await refusal(keys.load(dataset, wrong, o))).toBe("invalid_argument");
      expect(await refusal(keys.load(dataset, { hex: new Secret("5a".repeat(31)) }, o))).toBe("invalid_argument");
      expect((await lab.zfs.getVolume(dataset, o)).encryption).toMatchObject({ locked: true, algorithm: "aes-128-ccm" });
    });

    it("takes keys from files of 32 bytes", async () => {
      const lab = current();
      const { keys, zfs, o } = lab;
      const spec: EncryptionSpec = { algorithm: "aes-256-gcm", key: { file: keyFile } };
      expect(await refusal(encrypted(lab, spec))).toBe("precondition");
      await putKey(lab, "k".repeat(31));
      expect(await refusal(encrypted(lab, spec))).toBe("invalid_argument");
      await putKey(lab, "k".repeat(32));
      const { dataset } = await encrypted(lab, spec);
      expect(await keys.location(dataset, o)).toBe(keyFile);
      await keys.unload(dataset, o);
      await keys.load(dataset, { file: keyFile }, o);
      expect((await zfs.getVolume(dataset, o)).encryption).toMatchObject({ locked: false });
    });

    it("keeps the key of a volume that is open", async () => {
      const lab = current();
      const { keys, lio, zvols, o } = lab;
      const { dataset, handle } = await encrypted(lab, { algorithm: "aes-256-gcm", key: right });
      await zvols.awaitZvolDevice(dataset, o);
      const spec = lab.specOf(handle, dataset);
      lab.defer(() => lio.removeExport(spec, o));
      await lio.ensureExport(spec, o);
      expect(await refusal(keys.unload(dataset, o))).toBe("busy");
      await lio.removeExport(spec, o);
      await keys.unload(dataset, o);
    });

    it("gives a clone the key of its origin", async () => {
      const lab = current();
      const { keys, zfs, o } = lab;
      const { dataset } = await encrypted(lab, { algorithm: "aes-256-gcm", key: right });
      const clone = lab.newOwner().dataset;
      lab.defer(() => lab.destroyTree(`${dataset}@s`));
      await lab.command(lab.byHand.target, "zfs", "snapshot", `${dataset}@s`);
      await lab.command(lab.byHand.target, "zfs", "clone", `${dataset}@s`, clone);
      lab.defer(() => zfs.destroyVolume(clone, o));
      expect((await zfs.getVolume(clone, o)).encryption).toEqual({ algorithm: "aes-256-gcm", root: dataset, locked: false });
      expect(await refusal(keys.unload(clone, o))).toBe("precondition");
      await keys.unload(dataset, o);
      expect((await zfs.getVolume(clone, o)).encryption).toMatchObject({ locked: true });
      expect(await refusal(keys.load(clone, right, o))).toBe("precondition");
      await keys.load(dataset, right, o);
      expect((await zfs.getVolume(clone, o)).encryption).toMatchObject({ locked: false });
    });

    it("says so of what is not encrypted, or not there", async () => {
      const lab = current();
      const { keys, o } = lab;
      const { dataset, zvol } = await lab.bareVolume();
      expect(zvol.encryption).toBeUndefined();
      expect(await refusal(keys.load(dataset, right, o))).toBe("precondition");
      expect(await refusal(keys.unload(dataset, o))).toBe("precondition");
      expect(await refusal(keys.load(parseDatasetName(`${dataset}x`), right, o))).toBe("not_found");
    });
  });
}
