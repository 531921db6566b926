import { execFile, execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, mkdir, chown, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { csiClients } from "../../src/csi/running-driver.ts";
import { chartDirectory } from "../../src/deploy/chart.ts";
import { deployDirectory } from "../../src/deploy/tools.ts";

const run = promisify(execFile);
/** As the chart runs all but the nodes' driver. */
const user = 65_532;

/** Unpacking layers with their owners takes root. CI has all of it, or fails. */
function canBuildImages(): boolean {
  if (process.env["CI"] === "true") return true;
  if (process.getuid?.() !== 0) return false;
  try {
    execFileSync("sh", ["-c", "command -v umoci mmdebstrap"]);
    return true;
  } catch {
    return false;
  }
}

interface ImageConfig {
  readonly process: { readonly args: readonly [string, ...string[]]; readonly env: readonly string[]; readonly user: { readonly uid: number } };
}

/** A program of an image, with nothing but the image's files around it. */
interface Contained {
  readonly root: string;
  readonly child: ChildProcess;
  /** Lines of stdout. */
  readonly output: readonly string[];
}

describe.runIf(canBuildImages())("images built without a daemon", () => {
  let directory: string;
  const running: ChildProcess[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "zfsilo-images-"));
    for (const name of ["control-plane", "csi"]) {
      await run("sh", [join(deployDirectory, "images/build-oci"), name, join(directory, "layout")]);
      await run("umoci", ["unpack", "--image", join(directory, `layout:${name}`), join(directory, name)]);
    }
  }, 600_000);

  afterAll(async () => {
    for (const child of running) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await rm(directory, { recursive: true, force: true });
  });

  /** Starts what the image's configuration says, as the user it says, and waits for a line. */
  async function start(name: string, args: readonly string[], env: readonly string[], until: RegExp): Promise<Contained> {
    const root = join(directory, name, "rootfs");
    const { process: config } = JSON.parse(await readFile(join(directory, name, "config.json"), "utf8")) as ImageConfig;
    expect(config.user.uid).toBe(user);
    const command = [...config.env, ...env, ...config.args, ...args];
    const entry = ["chroot", "--userspec", `${config.user.uid}:${config.user.uid}`, root, "/usr/bin/env", "-i", ...command];
    // Every runtime gives a container a /proc; this one is seen by the program alone.
    const child = spawn("unshare", [`--mount-proc=${join(root, "proc")}`, ...entry], { stdio: ["ignore", "pipe", "pipe"] });
    running.push(child);
    const output: string[] = [];
    let complaint = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
    const exited = once(child, "exit").then(([code]) => {
      throw new Error(`${name} ended with ${String(code)}: ${complaint}`);
    });
    // It is looked at below alone.
    exited.catch(() => undefined);
    const seen = new Promise<void>((resolve) => {
      createInterface(child.stdout).on("line", (line) => {
        output.push(line);
        if (until.test(line)) resolve();
      });
    });
    await Promise.race([seen, exited]);
    return { root, child, output };
  }

  async function ownDirectory(path: string): Promise<void> {
    await mkdir(path, { recursive: true });
    await chown(path, user, user);
  }

  it("run as a user without rights, and find each other", async () => {
    await ownDirectory(join(directory, "control-plane/rootfs/var/lib/zfsilo"));
    const settings = ["ZFSILO_LISTEN=127.0.0.1:0", "ZFSILO_DATA_DIR=/var/lib/zfsilo/data", "ZFSILO_LOG_LEVEL=warn"];
    const controlPlane = await start("control-plane", [], settings, /^admin token: /);
    const url = /listening on (\S+)/.exec(controlPlane.output[0] ?? "")?.[1] ?? "";
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    const token = join(controlPlane.root, "var/lib/zfsilo/data/admin.token");
    expect((await stat(token)).uid).toBe(user);

    const csiRoot = join(directory, "csi/rootfs");
    await ownDirectory(join(csiRoot, "csi"));
    await cp(token, join(csiRoot, "csi/token"));
    await chown(join(csiRoot, "csi/token"), user, user);
    const flags = ["--mode=controller", "--endpoint=unix:///csi/csi.sock", `--control-plane=${url}`, "--token-file=/csi/token"];
    const driver = await start("csi", flags, [], /listening on unix:/);
    const { identity } = csiClients(join(csiRoot, "csi/csi.sock"));
    expect(await identity.probe({})).toMatchObject({ ready: true });
    for (const { child } of [driver, controlPlane]) {
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
    }
  }, 120_000);

  it("hold what the chart asks of them", async () => {
    for (const program of ["control-plane/rootfs/usr/bin/chown", "csi/rootfs/usr/bin/nsenter", "csi/rootfs/usr/local/bin/node"]) {
      expect((await stat(join(directory, program))).mode & 0o111).not.toBe(0);
    }
    const { dependencies } = JSON.parse(await readFile(join(directory, "csi/rootfs/opt/zfsilo/packages/csi/package.json"), "utf8")) as { dependencies: object };
    for (const name of Object.keys(dependencies)) await stat(join(directory, "csi/rootfs/opt/zfsilo/node_modules", name));
  });

  it("hold neither tests nor what only a compiler reads", async () => {
    const { stdout } = await run("find", [directory, "-name", "*.test.js", "-o", "-name", "*.d.ts", "-o", "-name", "typescript"]);
    expect(stdout.split("\n").filter((file) => file.includes("/opt/zfsilo/"))).toEqual([]);
  });
});

it("builds each image of the chart from a Containerfile of the same name and version", async () => {
  const { version } = JSON.parse(await readFile(join(deployDirectory, "../package.json"), "utf8")) as { version: string };
  expect(await readFile(join(chartDirectory, "Chart.yaml"), "utf8")).toContain(`\nappVersion: ${version}\n`);
  for (const name of ["control-plane", "csi"]) {
    const file = await readFile(join(deployDirectory, `images/${name}.Containerfile`), "utf8");
    expect(file).toContain(`zfsilo-${name}:${version} .`);
    const stages = [...file.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
    expect(stages).toEqual(["docker.io/library/node:${NODE}", "docker.io/library/node:${NODE}-slim"]);
    expect(/^ARG NODE=(.+)$/m.exec(file)?.[1]).toMatch(/^20\.\d+\.\d+-bookworm$/);
    const [entry] = /^ENTRYPOINT (\[.*\])$/m.exec(file)?.slice(1) ?? [];
    expect(JSON.parse(entry ?? "")).toEqual(["node", `/opt/zfsilo/packages/${name}/dist/main.js`]);
    expect(file).toMatch(/^USER 65532:65532$/m);
  }
});
