import { describe, expect, it } from "vitest";
import { commandLine, isSameProcess, parseProcessId, parseStartTicks, processId, thisProcess } from "./process-id.ts";

describe("parseStartTicks", () => {
  it.each([
    ["4242 (node) S 1 4242 4242 0 -1 4194304 1 0 0 0 1 2 3 4 20 0 11 0 987654 1 2 3", 987654],
    ["4242 (a) b (c) S 1 4242 4242 0 -1 4194304 1 0 0 0 1 2 3 4 20 0 11 0 55 1 2 3", 55],
  ])("%s", (line, ticks) => {
    expect(parseStartTicks(line)).toBe(ticks);
  });
});

describe("processes", () => {
  it("are known by pid and start time together", async () => {
    const me = await thisProcess();
    expect(await isSameProcess(me)).toBe(true);
    expect(await isSameProcess({ ...me, startTicks: me.startTicks - 1 })).toBe(false);
  });

  it("have a command line while they live", async () => {
    expect((await commandLine(process.pid)).length).toBeGreaterThan(0);
    // Beyond pid_max of a 64-bit kernel (proc(5)).
    expect(await processId(2 ** 22 + 1)).toBeUndefined();
    expect(await commandLine(2 ** 22 + 1)).toEqual([]);
  });

  it.each(["", "7", "null", '{"pid":1}', '{"pid":"1","startTicks":2}'])("are not read from %j", (text) => {
    expect(parseProcessId(text)).toBeUndefined();
  });
});
