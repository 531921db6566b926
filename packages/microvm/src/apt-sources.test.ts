import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { aptLines, debianSources, parseSources } from "./apt-sources.ts";

const deb822 = `Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://other.example/debian
Suites: bookworm
Components: main
`;
const oneLine = `# deb http://off.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/security trixie-security main
deb-src http://mirror.example/debian trixie main
deb http://vendor.example/apt cloud main
`;

const key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ";

describe("the guests' package sources", () => {
  it.each([
    [
      "debian.sources",
      deb822,
      [
        `deb ${key}http://mirror.example/debian bookworm main contrib`,
        `deb ${key}http://mirror.example/debian bookworm-updates main contrib`,
      ],
    ],
    ["sources.list", oneLine, ["deb [signed-by=/k.gpg] http://mirror.example/security bookworm-security main contrib"]],
    ["ubuntu.list", "deb http://mirror.example/ubuntu noble main\n", []],
    ["empty.sources", "", []],
  ])("from %s", (name, text, lines) => {
    expect(aptLines(parseSources(new Map([[name, text]])), "bookworm")).toEqual(lines);
  });

  it("are read from sources.list and sources.list.d, each once", async () => {
    const directory = await mkdtemp(join(tmpdir(), "zfsilo-apt-"));
    try {
      await mkdir(join(directory, "sources.list.d"));
      await writeFile(join(directory, "sources.list"), "deb http://mirror.example/debian bookworm main\n");
      await writeFile(join(directory, "sources.list.d", "again.list"), "deb http://mirror.example/debian bookworm main\n");
      await writeFile(join(directory, "sources.list.d", "old.list.save"), "deb http://old.example/debian bookworm main\n");
      expect(await debianSources("bookworm", {}, directory)).toEqual([
        "deb http://mirror.example/debian bookworm main contrib",
      ]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("can be given", async () => {
    const environment = { ZFSILO_DEBIAN_MIRROR: "http://mine.example/debian" };
    expect(await debianSources("bookworm", environment, "/nonexistent")).toEqual([
      "deb http://mine.example/debian bookworm main contrib",
    ]);
  });

  it("are asked for when the machine has none", async () => {
    await expect(debianSources("bookworm", {}, "/nonexistent")).rejects.toMatchObject({
      reason: "precondition",
      hint: expect.stringContaining("ZFSILO_DEBIAN_MIRROR") as string,
    });
  });
});
