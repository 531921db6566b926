import { createLogger } from "@zfsilo/lib";
import { chmod, chown, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { filesystemKind, prepareDataDirectory } from "./data-directory.ts";

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "zfsilo-data-"));
});
afterEach(() => rm(dataDir, { recursive: true }));
const prepare = (newInstallation = false): Promise<void> => prepareDataDirectory(dataDir, { newInstallation, log: createLogger("silent") });

describe("the data directory", () => {
  it.each([0o720, 0o702, 0o777])("is refused when others may write to it (%o), with the command that mends it", async (mode) => {
    await chmod(dataDir, mode);
    await expect(prepare()).rejects.toMatchObject({ reason: "precondition", hint: expect.stringContaining(`chmod go-w ${dataDir}`) as string });
    await chmod(dataDir, 0o755);
    await prepare();
  });

  it.runIf(process.getuid?.() === 0)("is refused when it belongs to another user", async () => {
    await chown(dataDir, 4711, 0);
    await expect(prepare()).rejects.toMatchObject({ message: expect.stringContaining("user 4711") as string, hint: expect.stringContaining("chown 0") as string });
  });

  it.each([["missing", undefined], ["empty", ""]])("is refused with a secret key beside a database that is %s, unless a new one is asked for", async (_, database) => {
    await writeFile(join(dataDir, "secret.key"), "x", { mode: 0o600 });
    if (database !== undefined) await writeFile(join(dataDir, "zfsilo.db"), database);
    const before = await readdir(dataDir);
    await expect(prepare()).rejects.toMatchObject({ details: { reason: "DATABASE_MISSING" }, hint: expect.stringContaining("ZFSILO_NEW_INSTALLATION=1") as string });
    expect(await readdir(dataDir)).toEqual(before);
    await prepare(true);
  });
});

it.each([
  [0x6969, "NFS", true],
  [-0xacb2be, "SMB", true],
  [0xfe534d42, "SMB", true],
  [0x65735546, "FUSE", false],
])("filesystem type %d is %s", (type, name, refused) => {
  expect(filesystemKind(type)).toEqual({ name, refused });
});

it.each([["ext4", 0xef53], ["xfs", 0x58465342], ["btrfs", 0x9123683e], ["zfs", 0x2fc12fc1], ["tmpfs", 0x01021994], ["overlayfs", 0x794c7630]])(
  "%s is a place for a database",
  (_, type) => {
    expect(filesystemKind(type)).toBeUndefined();
  },
);
