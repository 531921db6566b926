import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { guestFiles, maskedUnits } from "./guest-files.ts";
import { finishScript, mmdebstrapCommand, packages } from "./recipe.ts";
import { roleNames, roles } from "./roles.ts";

/** `sh -n` reads a script without running it and fails on a syntax error. */
function syntaxCheck(script: string): void {
  execFileSync("sh", ["-n"], { input: script });
}

describe("the guests' files", () => {
  const scripts = Object.entries(guestFiles).filter(([, file]) => file.content.startsWith("#!/bin/sh"));

  it.each(scripts)("%s is a shell script without syntax errors, and executable", (_path, file) => {
    syntaxCheck(file.content);
    expect(file.mode & 0o111).toBe(0o111);
  });

  it("set up each role by its own address and network cards", () => {
    const setup = guestFiles["/usr/local/sbin/zfsilo-setup"]?.content ?? "";
    for (const name of roleNames) {
      for (const fact of [roles[name].storageAddress, roles[name].loginMac, roles[name].storageMac]) {
        expect(setup).toContain(fact);
      }
    }
  });

  it("load one module a command: a second name would be a parameter of the first", () => {
    const setup = guestFiles["/usr/local/sbin/zfsilo-setup"]?.content ?? "";
    const lines = setup.split("\n").filter((line) => line.trim().startsWith("modprobe"));
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) expect(line.trim().split(" ")).toHaveLength(2);
  });

  it("mask each unit by its full name, once", () => {
    for (const unit of maskedUnits) expect(unit).toMatch(/^[\w@-]+\.(service|timer)$/);
    expect(new Set(maskedUnits).size).toBe(maskedUnits.length);
  });
});

describe("building", () => {
  it("names no package archive: that is the building machine's to know", () => {
    const source = "deb http://mirror.example/debian bookworm main contrib";
    const command = mmdebstrapCommand("/out.tar", [source]);
    expect(command.filter((word) => word.includes("://"))).toEqual([source]);
    expect(command).toContain(`--include=${packages.join(",")}`);
  });

  it("ends in a script without syntax errors", () => {
    syntaxCheck(finishScript);
  });
});
