import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSecretKey, findSecretKey, type SecretKey } from "./secret-key.ts";

let dataDir: string;
let file: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "zfsilo-key-"));
  file = join(dataDir, "secret.key");
});
afterEach(() => rm(dataDir, { recursive: true }));
const load = async (fromEnvironment?: string): Promise<SecretKey> =>
  (await findSecretKey({ fromEnvironment, dataDir })) ?? createSecretKey(dataDir);

describe("the secret key", () => {
  it("is made once, private, and stays", async () => {
    const first = await load();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const text = await readFile(file, "utf8");
    expect((await load("")).fingerprint()).toBe(first.fingerprint());
    expect(await readFile(file, "utf8")).toBe(text);
  });

  it("comes from the environment when given, and makes no file", async () => {
    const key = await load(Buffer.alloc(32, 9).toString("base64"));
    expect(key.fingerprint()).not.toBe((await load()).fingerprint());
    const other = await load(Buffer.alloc(32, 9).toString("base64"));
    expect(other.fingerprint()).toBe(key.fingerprint());
  });

  it("differs for each purpose", async () => {
    const key = await load();
    expect(key.derive("chap-secrets")).toHaveLength(32);
    expect(key.derive("chap-secrets")).not.toEqual(key.derive("page-tokens"));
  });

  it.each(["short", Buffer.alloc(31).toString("base64"), Buffer.alloc(33).toString("base64"), "not base64 at all!".repeat(3)])(
    "is refused as %j, naming the variable and the fix",
    async (text) => {
      await expect(load(text)).rejects.toMatchObject({
        message: expect.stringContaining("ZFSILO_SECRET_KEY") as string,
        hint: expect.stringContaining("openssl rand -base64 32") as string,
      });
    },
  );

  it.each([0o640, 0o604, 0o644])("is refused when others can read its file (%o)", async (mode) => {
    await load();
    await chmod(file, mode);
    await expect(load()).rejects.toMatchObject({ reason: "precondition", hint: expect.stringContaining(`chmod 600 ${file}`) as string });
  });

  it("is never replaced when its file is damaged", async () => {
    await writeFile(file, "", { mode: 0o600 });
    await expect(load()).rejects.toMatchObject({ message: expect.stringContaining(file) as string });
    expect(await readFile(file, "utf8")).toBe("");
  });
});
