import { setImmediate as immediate } from "node:timers/promises";
import {
  batchArgv,
  checkFileOperations,
  FileOperationError,
  type Argv,
  type CallOptions,
  type Executor,
  type FileOperation,
  type FileResult,
  type RunOptions,
  type RunResult,
} from "@zfsilo/command";
import { Call } from "./call.ts";
import type { CallLog } from "./call-log.ts";
import { Hang, KernelError, UnmodelledError } from "./failure.ts";
import type { FaultEffect, Faults } from "./faults.ts";
import { Vfs } from "./files/vfs.ts";
import type { Machine } from "./machine.ts";
import { failed, ToolFailure } from "./program.ts";
import { programs } from "./tools/programs.ts";

const defaultMaxOutputBytes = 1024 * 1024;
/** A batch that walks thousands of targets lets others have a turn, as it would on a machine of its own. */
const longTurnMs = 20;

export interface SimExecutorParts {
  readonly machine: Machine;
  readonly faults: Faults;
  readonly log: CallLog;
  /** Programs that are not installed here. */
  readonly missing: readonly string[];
}

/**
 * The Executor of a simulated machine. Commands act at once and whole, one after the other; what they changed is on
 * disk before they answer. Only faults, and logins that hang, take time.
 */
export class SimExecutor implements Executor {
  readonly host: string;
  readonly #parts: SimExecutorParts;
  readonly #closing = new AbortController();

  constructor(parts: SimExecutorParts) {
    this.host = parts.machine.name;
    this.#parts = parts;
  }

  async run(argv: Argv, options: RunOptions): Promise<RunResult> {
    const { machine, faults, log } = this.#parts;
    const call = this.#begin(argv, options);
    log.add({ argv });
    const effect = faults.forCommand(this.host, argv);
    if (effect?.kind === "drop-before") throw call.lost();
    if (effect?.kind === "hang") return await call.hang();
    if (effect?.kind === "delay") await call.wait(effect.ms);
    if (effect?.kind === "fail") return failed(effect.exitCode ?? 1, effect.stderr ?? "");
    let result: RunResult;
    try {
      result = this.#execute(call, argv, options.stdin ?? "");
    } catch (error) {
      if (error instanceof Hang) return await call.hang();
      throw error;
    } finally {
      machine.model.store.commit();
    }
    if (effect?.kind === "drop-after") throw call.lost();
    if (effect?.kind === "garbage") result = { exitCode: effect.exitCode, stdout: effect.stdout, stderr: "" };
    const limit = options.maxOutputBytes ?? defaultMaxOutputBytes;
    if (Math.max(Buffer.byteLength(result.stdout), Buffer.byteLength(result.stderr)) > limit) {
      throw call.error("internal", "unknown", new Error(`more than ${limit} bytes of output`));
    }
    return result;
  }

  async files(operations: readonly FileOperation[], options: CallOptions): Promise<readonly FileResult[]> {
    checkFileOperations(operations);
    const { machine, faults, log } = this.#parts;
    const call = this.#begin(batchArgv(operations), options);
    log.add({ operations: operations.map(({ op, path }) => ({ op, path })) });
    try {
      const whole = faults.forBatch(this.host);
      if (whole?.kind === "drop-before") throw call.lost();
      if (whole?.kind === "hang") return await call.hang();
      if (whole?.kind === "delay") await call.wait(whole.ms);
      if (whole?.kind === "fail" && operations[0] !== undefined) {
        throw new FileOperationError(this.host, 0, operations[0], whole.errno ?? "EIO");
      }
      let vfs = new Vfs(machine);
      let drop = whole?.kind === "drop-after";
      const results: FileResult[] = [];
      let began = performance.now();
      for (const [index, operation] of operations.entries()) {
        const effect = faults.forOperation(this.host, operation);
        if (effect !== undefined) {
          drop ||= effect.kind === "drop-after";
          await this.#suffer(effect, call);
          vfs = new Vfs(machine);
        }
        results.push(this.#perform(vfs, operation, index, effect));
        if (performance.now() - began > longTurnMs) {
          machine.model.store.commit();
          await immediate();
          vfs = new Vfs(machine);
          began = performance.now();
        }
      }
      machine.model.store.commit();
      if (drop) throw call.lost();
      return results;
    } finally {
      machine.model.store.commit();
    }
  }

  close(): Promise<void> {
    this.#closing.abort();
    return Promise.resolve();
  }

  #begin(argv: Argv, options: CallOptions): Call {
    const call = new Call(this.host, argv, options, this.#closing.signal);
    call.begin();
    if (!this.#parts.machine.facts.online) {
      throw call.error("unavailable", "not_started", new Error("No route to host"), `Check that ${this.host} is up and can be reached.`);
    }
    return call;
  }

  #execute(call: Call, argv: Argv, stdin: string): RunResult {
    const [name, ...args] = argv;
    if (this.#parts.missing.includes(name)) {
      throw call.error("precondition", "not_started", new Error(`spawn ${name} ENOENT`), `Install ${name} on ${this.host}.`);
    }
    const program = Object.hasOwn(programs, name) ? programs[name] : undefined;
    if (program === undefined) throw new UnmodelledError(`the program ${name} (in: ${argv.join(" ")})`);
    try {
      return program(this.#parts.machine, args, stdin);
    } catch (error) {
      if (error instanceof ToolFailure) return failed(error.exitCode, error.message, error.stdout);
      throw error;
    }
  }

  /** What happens before an operation that a fault strikes. Those before it have happened, and are on disk. */
  async #suffer(effect: FaultEffect, call: Call): Promise<void> {
    if (effect.kind === "drop-before") throw call.lost();
    if (effect.kind !== "hang" && effect.kind !== "delay") return;
    this.#parts.machine.model.store.commit();
    if (effect.kind === "hang") await call.hang();
    else await call.wait(effect.ms);
  }

  #perform(vfs: Vfs, operation: FileOperation, index: number, effect: FaultEffect | undefined): FileResult {
    try {
      if (effect?.kind === "fail") throw new KernelError(effect.errno ?? "EIO", operation.path);
      const result = vfs.perform(operation);
      return effect?.kind === "garbage" && result.text !== undefined ? { text: effect.stdout } : result;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      if (operation.tolerate?.includes(error.errno) === true) return { errno: error.errno };
      throw new FileOperationError(this.host, index, operation, error.errno);
    }
  }
}
