import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LogOutput } from "./log-output.ts";
import { createLogger } from "./log.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "zfsilo-log-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

describe("log output", () => {
  it("writes lines as they are", () => {
    const file = join(directory, "log");
    const fd = openSync(file, "w");
    const output = new LogOutput(fd);
    createLogger("info", output).info({ a: 1 }, "héllo");
    closeSync(fd);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ a: 1, msg: "héllo" });
    expect(output).toMatchObject({ linesLost: 0, problem: undefined });
  });

  it("loses and counts what a full disk does not take, and throws nothing", () => {
    const fd = openSync("/dev/full", "w");
    const output = new LogOutput(fd);
    const log = createLogger("info", output);
    for (let at = 0; at < 100; at += 1) log.child({ at }).error({ err: new Error("x") }, "failed");
    closeSync(fd);
    expect(output).toMatchObject({ linesLost: 100, problem: "ENOSPC" });
  });

  it("goes on when its file takes lines again", () => {
    writeFileSync(join(directory, "log"), "");
    const fd = openSync(join(directory, "log"), "r");
    const output = new LogOutput(fd);
    output.write("lost\n");
    expect(output).toMatchObject({ linesLost: 1, problem: "EBADF" });
    closeSync(fd);
    // The lowest free descriptor is given out again.
    const again = openSync(join(directory, "log"), "w");
    expect(again).toBe(fd);
    output.write("kept\n");
    closeSync(again);
    expect(output).toMatchObject({ linesLost: 1, problem: undefined });
    expect(readFileSync(join(directory, "log"), "utf8")).toBe("kept\n");
  });
});
