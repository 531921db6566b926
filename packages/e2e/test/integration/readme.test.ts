import { execFile, execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startService, type ServiceProcess } from "../../src/api/process.ts";

const run = promisify(execFile);
const readme = readFileSync(new URL("../../../../README.md", import.meta.url), "utf8");
const toolDirectory = join(homedir(), ".cache/zfsilo/grpcurl-1.8.9");

/** The shell block that follows `<!-- session: NAME -->`. */
function session(name: string): string {
  const block = new RegExp(`<!-- session: ${name} -->\\n+\`\`\`sh\\n([^]*?)\`\`\``).exec(readme)?.[1];
  if (block === undefined) throw new Error(`README has no session ${name}`);
  return block;
}

function has(program: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], { env: { PATH: `${process.env["PATH"]}:${toolDirectory}` } });
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

/** Runs a session as printed, but for the port, and stops at the first command that fails. */
async function runSession(name: string): Promise<string> {
  const script = session(name).replaceAll("127.0.0.1:8080", service.address);
  const { stdout } = await run("bash", ["-euo", "pipefail", "-c", script], {
    cwd: service.directory,
    env: { PATH: `${process.env["PATH"]}:${toolDirectory}` },
  });
  return stdout;
}

it("starts as README says", () => {
  expect(service.output).toEqual([
    `zfsilo listening on http://${service.address}`,
    "admin token: .zfsilo/admin.token",
    "simulated machines, with no disk and no network behind them: hst_give, hst_take",
  ]);
  expect(existsSync(join(service.directory, ".zfsilo/zfsilo.db"))).toBe(true);
});

it("runs README's curl session", async () => {
  const lines = (await runSession("curl")).trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.filter((line) => "code" in line)).toEqual([]);
  expect(lines).toHaveLength(14);
  expect(lines[5]).toMatchObject({ volume: { capacityBytes: "2147483648", status: "VOLUME_STATUS_MOUNTED" } });
  expect(lines[7]).not.toHaveProperty("differences");
  expect((lines[13]!["operations"] as object[]).length).toBe(3);
});

describe.runIf(process.env["CI"] === "true" || has("grpcurl"))("with grpcurl", () => {
  it("runs README's grpcurl session", async () => {
    const output = await runSession("grpcurl");
    expect(output).toContain("zfsilo.v1.VolumeService");
    expect(output).toContain("rpc PublishVolume");
    expect(output).toContain('"status": "VOLUME_STATUS_CONNECTED"');
    expect(output).toContain('"availableBytes"');
  });
});

it("ends with exit 0 within 10 s of SIGTERM", async () => {
  const { code, ms } = await service.terminate();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(10_000);
});
