import { setImmediate as immediate } from "node:timers/promises";
import {
  batchArgv,
  checkFileOperations,
  FileOperationError,
  inTurn,
  shownPipe,
  StreamExitError,
  type Argv,
  type CallOptions,
  type Executor,
  type FileOperation,
  type FileResult,
  type PipeOptions,
  type PipeResult,
  type RunOptions,
  type RunResult,
  type Sequence,
  type StreamOptions,
} from "@zfsilo/command";
import { Call } from "./call.ts";
import type { CallLog } from "./call-log.ts";
import { Hang, KernelError, UnmodelledError } from "./failure.ts";
import type { FaultEffect, Faults } from "./faults.ts";
import { Frozen } from "./files/freeze.ts";
import { Vfs } from "./files/vfs.ts";
import type { Machine } from "./machine.ts";
import { consumerOf, failedStream, filterOf, producerOf, type Output } from "./byte-programs.ts";
import { failed, ToolFailure } from "./program.ts";
import { interruptedPrograms, programs } from "./tools/programs.ts";

const defaultMaxOutputBytes = 1024 * 1024;
/** A batch that walks thousands of targets lets others have a turn, as it would on a machine of its own. */
const longTurnMs = 20;
/** How often a writer to a frozen filesystem looks again. */
const frozenPollMs = 10;

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
    const call = this.#begin(argv, options);
    const result = await this.#command(call, argv, failed, (isCut) => this.#execute(call, argv, options.stdin ?? "", isCut));
    this.#checkOutput(call, result, options.maxOutputBytes);
    return result;
  }

  /** Each is a command of its own in the log, and for faults. */
  async sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]> {
    return await inTurn(this.host, commands, options, (argv, limits) => this.run(argv, limits));
  }

  async pipe(producer: Argv, consumer: Argv, options: PipeOptions): Promise<PipeResult> {
    const shown = shownPipe(producer, consumer);
    const call = this.#begin(shown, options);
    let producerExitCode = 0;
    const result = await this.#command(call, shown, failed, () => {
      const input = this.#produce(call, producer);
      producerExitCode = input.exitCode;
      const taken = this.#consume(call, consumer, input.pieces);
      return { ...taken, stderr: `${input.stderr}${taken.stderr}` };
    });
    this.#checkOutput(call, result, options.maxOutputBytes);
    return { producerExitCode, consumerExitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr };
  }

  async *stream(producer: Argv, consumer: Argv, options: StreamOptions): AsyncGenerator<Uint8Array, void, undefined> {
    const shown = shownPipe(producer, consumer);
    const call = this.#begin(shown, options);
    const { exitCode, stderr, pieces } = await this.#command(call, shown, failedStream, () => {
      const input = this.#produce(call, producer);
      const output = this.#transform(call, consumer, input.pieces);
      return { exitCode: output.exitCode === 0 ? input.exitCode : output.exitCode, stderr: `${input.stderr}${output.stderr}`, pieces: output.pieces };
    });
    for (const piece of pieces) {
      call.goOn();
      yield piece;
      // Programs that write take time: others have a turn.
      await immediate();
    }
    call.goOn();
    if (exitCode !== 0) throw new StreamExitError(this.host, shown, exitCode, stderr);
  }

  /** One command and the fault that strikes it. `answer` makes a result out of what a fault has it say. */
  async #command<T extends object>(
    call: Call,
    argv: Argv,
    answer: (exitCode: number, stderr: string, stdout?: string) => T,
    work: (isCut: boolean) => T,
  ): Promise<T> {
    const { machine, faults, log } = this.#parts;
    log.add({ argv });
    const effect = faults.forCommand(this.host, argv);
    if (effect?.kind === "drop-before") throw call.lost();
    if (effect?.kind === "hang") return await call.hang();
    if (effect?.kind === "delay") await call.wait(effect.ms);
    if (effect?.kind === "fail") return answer(effect.exitCode ?? 1, effect.stderr ?? "");
    let result: T;
    try {
      result = work(effect?.kind === "interrupt");
    } catch (error) {
      if (error instanceof Hang) return await call.hang();
      throw error;
    } finally {
      machine.model.store.commit();
    }
    if (effect?.kind === "drop-after" || effect?.kind === "interrupt") throw call.lost();
    return effect?.kind === "garbage" ? answer(effect.exitCode, "", effect.stdout) : result;
  }

  #checkOutput(call: Call, { stdout, stderr }: RunResult, limit = defaultMaxOutputBytes): void {
    if (Math.max(Buffer.byteLength(stdout), Buffer.byteLength(stderr)) <= limit) return;
    throw call.error("internal", "unknown", new Error(`more than ${limit} bytes of output`));
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
        for (;;) {
          const result = this.#unlessFrozen(() => this.#perform(vfs, operation, index, effect));
          if (result !== undefined) {
            results.push(result);
            break;
          }
          machine.model.store.commit();
          await call.waitMore(frozenPollMs);
          vfs = new Vfs(machine);
        }
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

  #execute(call: Call, argv: Argv, stdin: string, isCut = false): RunResult {
    const [name, ...args] = argv;
    if (this.#parts.missing.includes(name)) {
      throw call.error("precondition", "not_started", new Error(`spawn ${name} ENOENT`), `Install ${name} on ${this.host}.`);
    }
    const known = isCut ? interruptedPrograms : programs;
    const program = Object.hasOwn(known, name) ? known[name] : undefined;
    if (program === undefined) throw new UnmodelledError(`the program ${name} (in: ${argv.join(" ")})`);
    try {
      return program(this.#parts.machine, args, stdin);
    } catch (error) {
      if (error instanceof ToolFailure) return failed(error.exitCode, error.message, error.stdout);
      throw error;
    }
  }

  /** What a program writes: bytes of those that write them, else what it prints. */
  #produce(call: Call, argv: Argv): Output {
    const producer = producerOf(argv);
    if (producer === undefined || this.#parts.missing.includes(argv[0])) {
      const { exitCode, stdout, stderr } = this.#execute(call, argv, "");
      return { exitCode, stderr, pieces: stdout === "" ? [] : [Buffer.from(stdout, "utf8")] };
    }
    try {
      return { exitCode: 0, stderr: "", pieces: producer(this.#parts.machine) };
    } catch (error) {
      if (error instanceof ToolFailure) return failedStream(error.exitCode, `${error.message}\n`);
      throw error;
    }
  }

  #consume(call: Call, argv: Argv, input: Iterable<Uint8Array>): RunResult {
    const consumer = consumerOf(argv);
    if (consumer === undefined) return this.#execute(call, argv, Buffer.concat([...input]).toString("utf8"));
    try {
      return consumer(this.#parts.machine, input);
    } catch (error) {
      if (error instanceof ToolFailure) return failed(error.exitCode, error.message, error.stdout);
      throw error;
    }
  }

  /** What a program writes of what it reads, as it reads it. */
  #transform(call: Call, argv: Argv, input: Iterable<Uint8Array>): Output {
    const filter = filterOf(argv);
    if (filter !== undefined && this.#parts.missing.includes(argv[0])) return failedStream(127, `sh: 1: ${argv[0]}: not found\n`);
    if (filter !== undefined) return { exitCode: 0, stderr: "", pieces: filter(input) };
    const { exitCode, stdout, stderr } = this.#consume(call, argv, input);
    return { exitCode, stderr, pieces: stdout === "" ? [] : [Buffer.from(stdout, "utf8")] };
  }

  /** What happens before an operation that a fault strikes. Those before it have happened, and are on disk. */
  async #suffer(effect: FaultEffect, call: Call): Promise<void> {
    if (effect.kind === "drop-before") throw call.lost();
    if (effect.kind !== "hang" && effect.kind !== "delay") return;
    this.#parts.machine.model.store.commit();
    if (effect.kind === "hang") await call.hang();
    else await call.wait(effect.ms);
  }

  /** Undefined: a filesystem is frozen, and the writer has to wait. */
  #unlessFrozen(work: () => FileResult): FileResult | undefined {
    try {
      return work();
    } catch (error) {
      if (error instanceof Frozen) return undefined;
      throw error;
    }
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
