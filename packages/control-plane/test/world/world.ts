import { inTurn, type Executor } from "@zfsilo/command";
import { createLogger, KeyedMutex } from "@zfsilo/lib";
import { SimWorld } from "@zfsilo/sim-host";
import type { JournalEntry } from "@zfsilo/try";
import { accessSync, constants } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectHost } from "../../src/machines/connect.ts";
import { Machines } from "../../src/machines/machines.ts";
import { PoolProbe } from "../../src/machines/pool-probe.ts";
import { Lanes } from "../../src/operation/lanes.ts";
import { Operations } from "../../src/operation/operations.ts";
import { SecretKey } from "../../src/secret-key.ts";
import { openStores, type Stores } from "../../src/store/open-stores.ts";
import { hostRecord } from "../../src/store/store-fixtures.ts";
import { Placer } from "../../src/volume/placer.ts";
import type { RequestDeps } from "../../src/volume/volume-requests.ts";
import type { WorkflowDeps } from "../../src/workflow/deps.ts";
import { CurrentRecords } from "../../src/workflow/generation.ts";
import { KeyRing } from "../../src/workflow/key-ring.ts";
import { workflows } from "../../src/workflow/workflows.ts";
import { journalWith } from "./journal.ts";
import { Life } from "./life.ts";

/** What a test does to the work of the process that runs. Asked anew each time, so that it may be set and cleared at will. */
export interface Hooks {
  /** Around each `do` and, with the entry in state `undoing`, each `undo`. */
  step?: (<T>(entry: JournalEntry, step: string, work: () => Promise<T>) => Promise<T>) | undefined;
  /** Around each write of the journal. */
  journal?: ((entry: JournalEntry, write: () => Promise<void>) => Promise<void>) | undefined;
  /** Around each command and each batch of file operations on any host. */
  command?: (<T>(host: string, work: () => Promise<T>) => Promise<T>) | undefined;
}

/** One life of the control plane, without its server. */
export interface Process {
  readonly stores: Stores;
  readonly operations: Operations<WorkflowDeps>;
  readonly requests: RequestDeps;
  readonly life: Life;
}

const key = new SecretKey(Buffer.alloc(32, 7));
const log = createLogger((process.env["ZFSILO_TEST_LOG"] as "debug" | undefined) ?? "silent");
const databaseFile = "zfsilo.db";
const machinesFile = "simulated-hosts.jsonl";

/** Simulated machines and a control plane on a database file, that can be copied, crashed and started again. */
export class World implements AsyncDisposable {
  readonly directory: string;
  readonly sim: SimWorld;
  readonly hooks: Hooks;
  #process: Process;

  private constructor(directory: string, sim: SimWorld, hooks: Hooks, running: Process) {
    this.directory = directory;
    this.sim = sim;
    this.hooks = hooks;
    this.#process = running;
  }

  /** What `key` is made of, for a control plane that is started on a world's directory. */
  static readonly secretKey = Buffer.alloc(32, 7).toString("base64");

  /** An empty world, or a copy of the one that was closed in `original`. */
  static async open(original?: string): Promise<World> {
    const directory = await mkdtemp(join(fastDirectory(), "zfsilo-world-"));
    if (original !== undefined) await cp(original, directory, { recursive: true });
    const sim = await SimWorld.open({ file: join(directory, machinesFile) });
    const stores = await openStores({ file: join(directory, databaseFile), key, log });
    const hooks: Hooks = {};
    const world = new World(directory, sim, hooks, startProcess(sim, stores, hooks));
    if (original === undefined) await world.#addHosts();
    await world.now.operations.load();
    return world;
  }

  get now(): Process {
    return this.#process;
  }

  get requests(): RequestDeps {
    return this.#process.requests;
  }

  /** Ends the process at this instant, whatever it does, and starts another on what is on disk. */
  async crash(): Promise<void> {
    this.#process.life.end();
    await this.#process.stores.close();
    const stores = await openStores({ file: join(this.directory, databaseFile), key, log });
    this.#process = startProcess(this.sim, stores, this.hooks);
    await this.#process.operations.load();
  }

  /** Lets go of the files and leaves them, for copies to be made of. */
  async close(): Promise<void> {
    await this.#process.requests.machines.close();
    await this.#process.stores.close();
    await this.sim.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.sim.faults.clear();
    this.#process.life.end();
    await this.close();
    await this.remove();
  }

  /** After it was closed. */
  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  async #addHosts(): Promise<void> {
    const { hosts } = this.now.stores;
    const initiator = { roles: ["initiator"], pools: [], portals: [] } as const;
    await hosts.insert(hostRecord("hst_give", { roles: ["target"], portals: [{ address: "192.0.2.1", port: 3260 }] }));
    await hosts.insert(hostRecord("hst_take", initiator));
    await hosts.insert(hostRecord("hst_tap", initiator));
    // Machines are there before anybody asks anything of them.
    for (const host of await hosts.all()) this.requests.machines.of(host);
  }
}

function startProcess(sim: SimWorld, stores: Stores, hooks: Hooks): Process {
  const life = new Life();
  const volumes = life.mortal(stores.volumes);
  const snapshots = life.mortal(stores.snapshots);
  const groups = life.mortal(stores.groups);
  const hosts = life.mortal(stores.hosts);
  const leftovers = life.mortal(stores.leftovers);
  const connected = (host: Parameters<typeof connectHost>[0]) => {
    const inner = connectHost(host, { world: sim, sshAgentSocket: undefined, observer: { hostCommand: () => undefined }, agents: { find: () => undefined }, answers: { seen: () => undefined } });
    const mortal = life.mortal(inner, (method, call) =>
      hooks.command !== undefined && ["run", "files", "pipe"].includes(method) ? hooks.command(host.id, call) : call(),
    );
    return stepByStep(mortal, () => hooks.command !== undefined);
  };
  const machines = new Machines(hosts, connected);
  const deps: WorkflowDeps = { volumes, snapshots, groups, hosts, leftovers, machines, clusterId: "test", turns: new KeyedMutex(), keys: new KeyRing(), current: new CurrentRecords() };
  const operations = new Operations<WorkflowDeps>({
    store: life.mortal(
      journalWith(stores.operations, (entry, write) => (hooks.journal === undefined ? write() : hooks.journal(entry, write))),
    ),
    deps,
    log,
    workflows,
    undoBackoff: { firstMs: 1, maxMs: 5, limitMs: 20 },
    aroundStep: (entry, step, work) => (hooks.step === undefined ? work() : hooks.step(entry, step, work)),
  });
  const placer = new Placer({ hosts, volumes, pools: new PoolProbe(machines) });
  return { stores, operations, requests: { ...deps, operations, placer, lanes: new Lanes(), iqnPrefix: "iqn.2026-01.io.zfsilo", keyRoots: ["/etc/zfsilo/keys"] }, life };
}

/** Each command of a sequence by itself, so that whoever stands around commands stands around every one of them. */
function stepByStep(executor: Executor, wanted: () => boolean): Executor {
  const sequence: Executor["sequence"] = (commands, options) =>
    wanted() ? inTurn(executor.host, commands, options, (argv, limits) => executor.run(argv, limits)) : executor.sequence(commands, options);
  return new Proxy(executor, { get: (target, name) => (name === "sequence" ? sequence : (Reflect.get(target, name, target) as unknown)) });
}

/** Memory where the system has a directory in it: thousands of databases are opened, and none has to outlive anything. */
export function fastDirectory(): string {
  try {
    accessSync("/dev/shm", constants.W_OK);
    return "/dev/shm";
  } catch {
    return tmpdir();
  }
}
