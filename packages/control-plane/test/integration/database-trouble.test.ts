import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, open, readFile, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { createLogger } from "@zfsilo/lib";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { openDatabase } from "../../src/store/database.ts";
import { runningService, type Json, type RunningService } from "./running-service.ts";

// What becomes of the service when the file that holds everything cannot be used.

let service: RunningService | undefined;
afterEach(async () => {
  await service?.[Symbol.asyncDispose]();
  service = undefined;
});

const main = ["--conditions=development", "--import", "tsx", "packages/control-plane/src/main.ts"];
const settings = { hosts: [{ id: "give", roles: ["target"], simulated: {}, pools: [{ name: "tank" }] }], reconcile: { intervalSeconds: 0 } };

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "zfsilo-trouble-"));
  onTestFinished(() => rm(path, { recursive: true }));
  await writeFile(join(path, "config.json"), JSON.stringify(settings));
  return path;
}

const environment = (path: string): NodeJS.ProcessEnv => ({
  ...process.env,
  ZFSILO_CONFIG: join(path, "config.json"),
  ZFSILO_DATA_DIR: join(path, "data"),
  ZFSILO_LISTEN: "127.0.0.1:0",
  ZFSILO_LOG_LEVEL: "silent",
});

/** In a mount namespace of its own, which needs no privilege; `setUp` gets the data directory as $1. */
const unshared = (path: string, setUp: string): readonly [string, readonly string[]] => {
  const own = process.getuid?.() === 0 ? ["--mount"] : ["--user", "--map-root-user", "--mount"];
  const script = `mkdir -p "$1" && ${setUp} && shift && exec "$@"`;
  return ["unshare", [...own, "--", "sh", "-c", script, "sh", join(path, "data"), process.execPath, ...main]];
};

/** The command, which is expected to refuse to start. */
async function refusal(path: string, [program, argv]: readonly [string, readonly string[]] = [process.execPath, main]): Promise<string> {
  const ended = promisify(execFile)(program, argv, { env: environment(path), timeout: 40_000 });
  const error = await ended.then(
    () => undefined,
    (reason: unknown) => reason as { code: number; stderr: string },
  );
  expect(error).toMatchObject({ code: 1 });
  return error?.stderr ?? "";
}

interface Command extends AsyncDisposable {
  readonly child: ChildProcess;
  call(method: string, message: object): Promise<{ readonly status: number; readonly body: Json }>;
  readiness(): Promise<{ readonly status: number; readonly text: string }>;
}

async function command(path: string, [program, argv]: readonly [string, readonly string[]] = [process.execPath, main]): Promise<Command> {
  const child = spawn(program, argv, { env: environment(path), stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const url = /http\S+/.exec((await lines.next()).value as string)?.[0] ?? "";
  const file = /\/.*/.exec((await lines.next()).value as string)?.[0] ?? "";
  // What it has mounted only it sees.
  const token = (await readFile(`/proc/${child.pid}/root${file}`, "utf8")).trim();
  return {
    child,
    async call(method, message) {
      const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
      const response = await fetch(`${url}/zfsilo.v1.${method}`, { method: "POST", headers, body: JSON.stringify(message) });
      return { status: response.status, body: (await response.json()) as Json };
    },
    async readiness() {
      const response = await fetch(`${url}/readyz`);
      return { status: response.status, text: await response.text() };
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

async function until(what: () => Promise<boolean>): Promise<void> {
  const began = performance.now();
  while (!(await what())) {
    if (performance.now() - began > 30_000) throw new Error("it did not happen");
    await sleep(100);
  }
}

const volume = (volumeId: string, label = ""): object => ({
  volumeId,
  volume: { host: "hosts/give", capacityBytes: `${64 << 20}`, sparse: true, mode: "VOLUME_MODE_BLOCK", labels: { note: label } },
});

/** Names of volumes as recorded, and how many zvols there are. */
async function inventory({ call }: Pick<Command, "call">): Promise<readonly unknown[]> {
  const { body } = await call("VolumeService/ListVolumes", {});
  const orphans = await call("OrphanService/ListOrphans", {});
  return [((body["volumes"] ?? []) as Json[]).map(({ name }) => name).sort(), orphans.body["orphans"] ?? []];
}

describe("a full disk", () => {
  it("makes calls fail before anything is done on a host, is told by /readyz, and is over when there is room", async () => {
    const path = await directory();
    await using running = await command(path, unshared(path, 'mount -t tmpfs -o size=2m,mode=700 tmpfs "$1"'));
    expect(await running.call("VolumeService/CreateVolume", volume("before"))).toMatchObject({ status: 200 });
    const data = `/proc/${running.child.pid}/root${join(path, "data")}`;
    const { bavail, bsize } = await statfs(data);
    await writeFile(join(data, "filler"), Buffer.alloc((bavail - 3) * bsize));
    // The journal may find a last page or two.
    const answers: { readonly status: number; readonly body: Json }[] = [];
    await until(async () => {
      answers.push(await running.call("VolumeService/CreateVolume", volume(`during${answers.length}`, "x".repeat(60))));
      return answers.at(-1)?.status !== 200;
    });
    const last = answers.at(-1);
    expect(last?.body).toMatchObject({ code: "unavailable" });
    const told = await running.readiness();
    expect(told).toMatchObject({ status: 503 });
    expect(told.text).toMatch(/^not ready\ndatabase: SQLITE_FULL.* Make room/m);
    await rm(join(data, "filler"));
    await until(async () => {
      await running.call("VolumeService/CreateVolume", volume("after"));
      return (await running.readiness()).status === 200;
    });
    expect(await running.call("VolumeService/CreateVolume", volume("after"))).toMatchObject({ status: 200 });
    const made = answers.slice(0, -1).map((_, index) => `volumes/during${index}`);
    expect(await inventory(running)).toEqual([["volumes/after", "volumes/before", ...made].sort(), []]);
    expect((await running.readiness()).text).toContain("open operations: 0");
  });
});

describe("a file that another program holds locked", () => {
  it("makes calls fail with the reason until it lets go", async () => {
    const running = (service = await runningService());
    await running.volume("one", "initial");
    const other = await openDatabase({ file: join(running.dataDir, "zfsilo.db"), log: createLogger("silent") });
    await other.write((manager) => manager.query("begin immediate"));
    await expect(running.call("VolumeService/PublishVolume", { name: "volumes/one" })).rejects.toThrow("unavailable");
    const told = await running.get("/readyz");
    expect(told).toMatchObject({ status: 503 });
    expect(told.text).toMatch(/SQLITE_BUSY.*Another program holds the file locked/);
    expect((await running.call("VolumeService/GetVolume", { name: "volumes/one" }))["volume"]).toMatchObject({ name: "volumes/one" });
    await other.write((manager) => manager.query("rollback"));
    await other.close();
    await running.call("VolumeService/PublishVolume", { name: "volumes/one" });
    await until(async () => (await running.get("/readyz")).status === 200);
    expect(await running.call("VolumeService/SyncVolume", { name: "volumes/one" })).not.toHaveProperty("differences");
  });
});

describe("at the start, a database", () => {
  /** A database with a volume in it, of a service that has ended. */
  async function used(): Promise<{ readonly path: string; readonly file: string }> {
    const path = await directory();
    await using running = await command(path);
    expect(await running.call("VolumeService/CreateVolume", volume("kept"))).toMatchObject({ status: 200 });
    return { path, file: join(path, "data", "zfsilo.db") };
  }

  async function expectMended(path: string): Promise<void> {
    await using running = await command(path);
    expect(await running.readiness()).toMatchObject({ status: 200 });
    expect(await inventory(running)).toEqual([["volumes/kept"], []]);
  }

  it("that cannot be written is refused, and left as it is", async () => {
    const { path, file } = await used();
    const before = await readFile(file);
    const told = await refusal(path, unshared(path, 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'));
    expect(told).toMatch(/zfsilo cannot start: .*\n.*Mount it writable/);
    expect(await readFile(file)).toEqual(before);
    await expectMended(path);
  });

  it("that is damaged is refused, and left as it is", async () => {
    const { path, file } = await used();
    await copyFile(file, `${file}.copy`);
    await overwrite(file, 0, 4096);
    const before = await readFile(file);
    expect(await refusal(path)).toMatch(/zfsilo cannot start: open the database .*\n.*restore the file from a copy/i);
    expect(await readFile(file)).toEqual(before);
    await copyFile(`${file}.copy`, file);
    await expectMended(path);
  });

  it("that is damaged where nobody looks at first makes it not ready as soon as somebody does, until it is restored", async () => {
    const { path, file } = await used();
    await copyFile(file, `${file}.copy`);
    const database = await openDatabase({ file, log: createLogger("silent") });
    const [root] = await database.read<{ page: number; size: number }>(
      `select rootpage as page, page_size as size from sqlite_master, pragma_page_size where name = 'operations'`,
    );
    await database.close();
    await overwrite(file, ((root?.page ?? 0) - 1) * (root?.size ?? 0), 4096);
    {
      await using running = await command(path);
      expect(await running.call("OperationService/ListOperations", {})).toMatchObject({ body: { code: "unavailable" } });
      const told = await running.readiness();
      expect(told).toMatchObject({ status: 503 });
      expect(told.text).toMatch(/^not ready\ndatabase: SQLITE_CORRUPT.* restore the file from a copy/m);
    }
    await copyFile(`${file}.copy`, file);
    await expectMended(path);
  });

  it("of a newer version is refused, and left as it is", async () => {
    const { path, file } = await used();
    const future = async (sql: string): Promise<void> => {
      const { DataSource } = await import("typeorm");
      const source = await new DataSource({ type: "sqlite", database: file }).initialize();
      await source.query(sql);
      await source.destroy();
    };
    await future("insert into migrations (timestamp, name) values (9, 'FromTheFuture9')");
    const before = await readFile(file);
    expect(await refusal(path)).toMatch(/written by a newer version of zfsilo \(FromTheFuture9\)\n.*Nothing was changed/);
    expect(await readFile(file)).toEqual(before);
    await future("delete from migrations where name = 'FromTheFuture9'");
    await expectMended(path);
  });
});

async function overwrite(file: string, position: number, length: number): Promise<void> {
  const handle = await open(file, "r+");
  await handle.write(Buffer.alloc(length, "damage "), 0, length, position);
  await handle.close();
}
