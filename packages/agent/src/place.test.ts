import { LocalExecutor } from "@zfsilo/command";
import { mkdir, mkdtemp, readFile, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { executorAt, mountsBelow } from "./place.ts";

const { signal } = new AbortController();
let root: string;
beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "zfsilo-place-")));
  await mkdir(`${root}/d`);
});
afterEach(() => rm(root, { recursive: true }));

describe("a host below a directory", () => {
  it("has its files there, and calls them by the host's names", async () => {
    const executor = executorAt({ kind: "chroot", root }, "here");
    const results = await executor.files(
      [
        { op: "write", path: "/d/f", content: "x", create: { mode: 0o600 } },
        { op: "read-glob", path: "/d/*" },
      ],
      { signal },
    );
    expect(results[1]).toEqual({ files: [["/d/f", "x"]] });
    expect(await readFile(`${root}/d/f`, "utf8")).toBe("x");
  });

  it("does not start a program that only the container has", async () => {
    const executor = executorAt({ kind: "chroot", root }, "here");
    await expect(executor.run(["true"], { signal })).rejects.toMatchObject({ reason: "precondition", outcome: "not_started", hint: expect.stringContaining("true") as string });
  });
});

describe("the namespaces of process 1", () => {
  it("have their mounts read from there", async () => {
    const { text } = (await executorAt({ kind: "nsenter" }, "here").files([{ op: "read", path: "/proc/self/mountinfo" }], { signal }))[0]!;
    expect(text).toBe((await new LocalExecutor("here").files([{ op: "read", path: "/proc/1/mountinfo" }], { signal }))[0]!.text);
  });
});

describe("mounts below a root", () => {
  it("keeps those, and names them as they are called there", () => {
    const lines = [
      "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
      "30 22 8:1 / /host rw,relatime shared:1 - ext4 /dev/sda1 rw",
      "31 30 0:5 / /host/sys rw - sysfs sysfs rw",
      "32 22 0:6 / /hostile rw - tmpfs tmpfs rw",
      "33 30 8:16 / /host/mnt/a\\040b rw - ext4 /dev/sdb rw",
    ];
    expect(mountsBelow("/host", `${lines.join("\n")}\n`)).toBe(
      "30 22 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n31 30 0:5 / /sys rw - sysfs sysfs rw\n33 30 8:16 / /mnt/a\\040b rw - ext4 /dev/sdb rw\n",
    );
  });
});
