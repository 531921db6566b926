import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { quoteArgument } from "@zfsilo/command";
import { errorChain, StorageError } from "@zfsilo/lib";
import { assertInstanceName, isAlive, listInstances, readInstance, removeInstance } from "./instance.ts";
import { bringUp, findRunning, type Machines } from "./pair.ts";
import { createHostRequests } from "./host-requests.ts";
import { ensureImage } from "./image.ts";
import { pruneCache } from "./prune.ts";
import { roleNames, type RoleName } from "./roles.ts";
import { sshArguments } from "./ssh.ts";

const usage = `Two virtual machines: give holds a ZFS pool and exports volumes, take connects to them.

  npm run microvm -- up                        start both; they run until "down"
  npm run microvm -- status                    what runs, and where ssh answers
  npm run microvm -- ssh give|take [-- COMMAND]
  npm run microvm -- reset give|take           power cut, then boot
  npm run microvm -- restore                   both back to the state they were saved in
  npm run microvm -- hosts                     requests for HostService/CreateHost, one a line, that add them to zfsilo
  npm run microvm -- down                      end both and forget what they did
  npm run microvm -- build                     only build the image
  npm run microvm -- prune                     remove images of earlier recipes and saved machines from the cache

  --instance NAME   another pair beside the usual one ("dev")
`;

/** Progress for work that takes minutes: each line with the time since the start, and a sign of life every half minute. */
function progress(): { log: (line: string) => void; stop: () => void } {
  const started = Date.now();
  const elapsed = (): string => `${((Date.now() - started) / 1000).toFixed(0).padStart(5)} s`;
  let last = "";
  const write = (line: string): void => void process.stderr.write(`${elapsed()}  ${line}\n`);
  const timer = setInterval(() => {
    if (last !== "") write(`... ${last}`);
  }, 30_000);
  timer.unref();
  const log = (line: string): void => {
    last = line;
    write(line);
  };
  const stop = (): void => {
    clearInterval(timer);
  };
  return { log, stop };
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { instance: { type: "string", default: "dev" }, help: { type: "boolean", default: false } },
  });
  const [command, ...rest] = positionals;
  const { instance } = values;
  assertInstanceName(instance);
  const interrupt = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => {
      interrupt.abort(new Error(`stopped by ${name}`));
    });
  }
  const { log, stop } = progress();
  const options = { signal: interrupt.signal, log };
  try {
    switch (values.help ? "help" : command) {
      case "build":
        await ensureImage(options);
        log("the image is ready");
        return 0;
      case "prune":
        for (const name of await pruneCache()) log(`removed ${name}`);
        return 0;
      case "up":
        if ((await findRunning(instance, interrupt.signal)) === undefined) {
          await bringUp({ ...options, instance, lifetime: "background" });
        }
        log("both machines are up");
        return await status();
      case "down":
        await removeInstance(instance);
        return 0;
      case "status":
        return await status();
      case "ssh":
        return await ssh(await running(instance, interrupt.signal), rest);
      case "reset":
        await (await running(instance, interrupt.signal))[role(rest[0])].reset();
        return 0;
      case "restore":
        await (await running(instance, interrupt.signal)).restore();
        return 0;
      case "hosts":
        for (const request of createHostRequests(await running(instance, interrupt.signal))) {
          process.stdout.write(`${JSON.stringify(request)}\n`);
        }
        return 0;
      case "help":
        process.stdout.write(usage);
        return 0;
      case undefined:
      default:
        process.stderr.write(usage);
        return 2;
    }
  } finally {
    stop();
  }
}

async function running(instance: string, signal: AbortSignal): Promise<Machines> {
  const machines = await findRunning(instance, signal);
  if (machines !== undefined) return machines;
  throw new StorageError("precondition", `find the machines of ${instance}`, {
    cause: new Error("they do not run"),
    hint: "Start them: npm run microvm -- up",
  });
}

function role(word: string | undefined): RoleName {
  const found = roleNames.find((name) => name === word);
  if (found !== undefined) return found;
  throw new StorageError("invalid_argument", `machine ${JSON.stringify(word ?? "")}`, { hint: "Say give or take." });
}

async function status(): Promise<number> {
  const names = await listInstances();
  if (names.length === 0) process.stdout.write("no machines\n");
  for (const name of names) {
    const state = await readInstance(name);
    if (state === undefined) continue;
    const alive = await isAlive(name, state);
    for (const machine of roleNames) {
      const { sshPort, process: id } = state.machines[machine];
      const where = alive[machine] ? `up    ssh 127.0.0.1:${sshPort}  pid ${id?.pid ?? "-"}` : "down";
      process.stdout.write(`${name.padEnd(10)} ${machine}  ${where}\n`);
    }
  }
  return 0;
}

/** ssh itself, on this terminal: a person's words are joined by spaces as ssh does, a single word is passed as it is. */
function ssh(machines: Machines, rest: readonly string[]): Promise<number> {
  const [name, ...words] = rest;
  const address = machines[role(name)].ssh;
  const remote = words.length === 1 ? words : words.map(quoteArgument);
  const terminal = process.stdin.isTTY && words.length === 0 ? ["-t"] : [];
  const [program, ...argv] = sshArguments(address, terminal);
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...argv, ...remote], { stdio: "inherit" });
    child.once("error", reject);
    child.once("exit", (code) => {
      resolve(code ?? 128);
    });
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`error: ${errorChain(error)}\n`);
  if (error instanceof StorageError && error.hint !== undefined) process.stderr.write(`${error.hint}\n`);
  process.exitCode = 1;
}
