import { execFile, execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startService, type ServiceProcess } from "../../src/api/process.ts";

const run = promisify(execFile);
const path = `${process.env["PATH"] ?? ""}:${join(homedir(), ".cache/zfsilo/grpcurl-1.8.9")}`;

/** Every shell block of a page, in order. */
function blocks(page: string): string[] {
  const text = readFileSync(new URL(`../../../../docs/${page}`, import.meta.url), "utf8");
  return [...text.matchAll(/^```sh\n([^]*?)^```/gm)].map(([, block = ""]) => block);
}

function has(program: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], { env: { PATH: path } });
    return true;
  } catch {
    return false;
  }
}

let service: ServiceProcess;
beforeAll(async () => {
  service = await startService();
});
afterAll(async () => {
  await service.remove();
});

describe.runIf(process.env["CI"] === "true" || has("grpcurl"))("with grpcurl", () => {
  const [define = "", ...pools] = blocks("pools.md");

  it.each([
    ["pools.md", pools, '"maximumVolumeBytes"'],
    ["zfs-options.md", blocks("zfs-options.md"), '"compression": "off"'],
    ["snapshots.md", blocks("snapshots.md").slice(1), '"state": "SNAPSHOT_STATE_TOMBSTONED"'],
    ["encryption.md", blocks("encryption.md"), '"unlocked": true'],
  ])("every line of %s works as it stands there", async (_page, lines, shown) => {
    expect(lines.length).toBeGreaterThan(0);
    const script = [define, ...lines].join("\n").replaceAll("127.0.0.1:8080", service.address);
    const { stdout } = await run("bash", ["-euo", "pipefail", "-c", script], { cwd: service.directory, env: { PATH: path } });
    expect(stdout).toContain(shown);
  });
});
