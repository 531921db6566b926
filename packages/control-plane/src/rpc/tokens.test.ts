import { createHash } from "node:crypto";
import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLogger } from "@zfsilo/lib";
import { TokenWatch } from "./token-watch.ts";
import { loadAdminToken, Tokens } from "./tokens.ts";

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

describe("tokens", () => {
  const tokens = new Tokens([
    { name: "one", sha256: sha256("first") },
    { name: "two", sha256: sha256("second") },
  ]);

  it.each([
    ["Bearer first", "one"],
    ["bearer  second", "two"],
    ["Bearer firs", undefined],
    ["Bearer first second", undefined],
    ["Basic first", undefined],
    ["first", undefined],
    ["Bearer ", undefined],
    ["", undefined],
    [null, undefined],
  ])("%j is %s", (header, caller) => {
    expect(tokens.callerOf(header)).toBe(caller);
  });

  it("let nobody in when there are none, and the empty one never", () => {
    expect(new Tokens([]).callerOf("Bearer x")).toBeUndefined();
  });
});

describe("tokens that change", () => {
  const log = createLogger("silent");

  it("count as soon as they are seen, and the old ones no longer", async () => {
    let held = [{ name: "ci", sha256: sha256("first") }];
    const fixed = [{ name: "admin", sha256: sha256("admin") }];
    const tokens = new Tokens([...fixed, ...held]);
    using watch = new TokenWatch(tokens, [{ name: "a", known: fixed, read: () => Promise.resolve(fixed) }, { name: "b", known: held, read: () => Promise.resolve(held) }], log, 1e6);
    held = [{ name: "ci", sha256: sha256("second") }];
    await watch.look();
    expect(["first", "second", "admin"].map((token) => tokens.callerOf(`Bearer ${token}`))).toEqual([undefined, "ci", "admin"]);
    held = [];
    await watch.look();
    expect(["second", "admin"].map((token) => tokens.callerOf(`Bearer ${token}`))).toEqual([undefined, "admin"]);
  });

  it("stay as they were while they cannot be read", async () => {
    const known = [{ name: "ci", sha256: sha256("first") }];
    const tokens = new Tokens(known);
    using watch = new TokenWatch(tokens, [{ name: "a", known, read: () => Promise.reject(new Error("half written")) }], log, 1e6);
    await watch.look();
    expect(tokens.callerOf("Bearer first")).toBe("ci");
  });
});

describe("the admin token", () => {
  let dataDir: string;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "zfsilo-token-"));
  });
  afterEach(() => rm(dataDir, { recursive: true }));

  it("is made at the first start, private, and stays", async () => {
    const first = await loadAdminToken(dataDir);
    expect(first).toMatchObject({ file: join(dataDir, "admin.token"), created: true });
    expect((await stat(first.file)).mode & 0o777).toBe(0o600);
    const token = (await readFile(first.file, "utf8")).trim();
    expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
    const again = await loadAdminToken(dataDir);
    expect(again).toEqual({ ...first, created: false });
    expect(new Tokens([again.known]).callerOf(`Bearer ${token}`)).toBe("admin");
  });

  it("is refused when others can read it", async () => {
    const { file } = await loadAdminToken(dataDir);
    await chmod(file, 0o644);
    await expect(loadAdminToken(dataDir)).rejects.toMatchObject({ hint: expect.stringContaining(`chmod 600 ${file}`) as string });
  });

  it("is refused when its file is empty: an empty token would be anybody's", async () => {
    const { file } = await loadAdminToken(dataDir);
    await (await import("node:fs/promises")).writeFile(file, "\n");
    await expect(loadAdminToken(dataDir)).rejects.toMatchObject({ reason: "precondition" });
  });
});
