import { fromBinary } from "@bufbuild/protobuf";
import { FileBatchAnswerSchema, OutputStream, type CommandOutput, type RequestFailure, type ServeRequest } from "@zfsilo/api";
import { CommandError, FileOperationError, fileResultFromMessage, StreamWatch, type Argv, type FileOperation, type FileResult, type PipeResult, type RunResult } from "@zfsilo/command";
import { reasons, shortened, StorageError, type Reason } from "@zfsilo/lib";
import type { AgentRequest } from "./agent-link.ts";

type Message = ServeRequest["message"];

/** Of what an agent says about a failure, which goes into answers, operations and logs. */
const maxFailureBytes = 4096;

/** What every request has: an end, told by a promise. */
abstract class Pending<T> implements AgentRequest {
  abstract readonly heldBytes: number;
  readonly result: Promise<T>;
  protected readonly host: string;
  protected readonly argv: Argv;
  #resolve: (result: T) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;

  constructor(host: string, argv: Argv) {
    this.host = host;
    this.argv = argv;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever asked may have stopped waiting.
    this.result.catch(() => undefined);
  }

  receive(message: Message): void {
    try {
      if (message.case === "failure") this.#reject(this.failure(message.value));
      else this.take(message);
    } catch (error) {
      this.#reject(new CommandError("internal", this.host, this.argv, "unknown", error));
    }
  }

  lost(error: Error): void {
    this.#reject(new CommandError("unavailable", this.host, this.argv, "unknown", error));
  }

  protected abstract take(message: Message): void;

  protected succeed(result: T): void {
    this.#resolve(result);
  }

  protected failure(failure: RequestFailure): StorageError {
    const { message, hint, mayHaveHappened, refused } = failure;
    const reason = reasonOf(failure.reason);
    const cause = new StorageError(reason, shortened(message, maxFailureBytes), refused ? { details: { reason: "AGENT_REFUSED" } } : {});
    return new CommandError(reason, this.host, this.argv, mayHaveHappened ? "unknown" : "not_started", cause, hint === "" ? undefined : shortened(hint, maxFailureBytes));
  }
}

/** A command: its output as it comes, until its exit. */
export class PendingCommand extends Pending<RunResult> {
  readonly #maxBytes: number;
  readonly #output = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  readonly #sizes = { stdout: 0, stderr: 0 };

  constructor(host: string, argv: Argv, maxBytes: number) {
    super(host, argv);
    this.#maxBytes = maxBytes;
  }

  get heldBytes(): number {
    return this.#sizes.stdout + this.#sizes.stderr;
  }

  protected take(message: Message): void {
    if (message.case === "output") {
      this.keep(message.value);
    } else if (message.case === "exit") {
      this.succeed({ exitCode: message.value.exitCode, stdout: this.text("stdout"), stderr: this.text("stderr") });
    }
  }

  keep({ stream, data }: CommandOutput): void {
    const name = stream === OutputStream.STDERR ? "stderr" : "stdout";
    this.#sizes[name] += data.length;
    // The agent keeps the limit: one that does not must not fill our memory.
    if (this.#sizes[name] > this.#maxBytes) throw new Error(`more than ${this.#maxBytes} bytes on ${name}`);
    this.#output[name].push(data);
  }

  text(name: "stdout" | "stderr"): string {
    return Buffer.concat(this.#output[name]).toString("utf8");
  }
}

/** A pipe: what its programs print, until both have ended. */
export class PendingPipe extends Pending<PipeResult> {
  readonly #command: PendingCommand;

  constructor(host: string, argv: Argv, maxBytes: number) {
    super(host, argv);
    this.#command = new PendingCommand(host, argv, maxBytes);
  }

  get heldBytes(): number {
    return this.#command.heldBytes;
  }

  protected take(message: Message): void {
    if (message.case === "output") this.#command.keep(message.value);
    if (message.case !== "pipeExit") return;
    const { producerExitCode, consumerExitCode } = message.value;
    this.succeed({ producerExitCode, consumerExitCode, stdout: this.#command.text("stdout"), stderr: this.#command.text("stderr") });
  }
}

/** Commands one after the other: what each prints, then its exit. */
export class PendingSequence extends Pending<readonly RunResult[]> {
  readonly #results: RunResult[] = [];
  readonly #maxBytes: number;
  #current: PendingCommand;
  #keptBytes = 0;

  constructor(host: string, argv: Argv, maxBytes: number) {
    super(host, argv);
    this.#maxBytes = maxBytes;
    this.#current = new PendingCommand(host, argv, maxBytes);
  }

  get heldBytes(): number {
    return this.#keptBytes;
  }

  protected take(message: Message): void {
    if (message.case === "output") {
      this.#keptBytes += message.value.data.length;
      // Both streams of all of them: the agent keeps the limit of each, and one that does not must not fill our memory.
      if (this.#keptBytes > 2 * this.#maxBytes) throw new Error(`more than ${this.#maxBytes} bytes of output`);
      this.#current.keep(message.value);
    }
    if (message.case !== "sequenceExit") return;
    const { exitCode, last } = message.value;
    this.#results.push({ exitCode, stdout: this.#current.text("stdout"), stderr: this.#current.text("stderr") });
    this.#current = new PendingCommand(this.host, this.argv, this.#maxBytes);
    if (last) this.succeed(this.#results);
  }
}

/** A program whose output is handed on. `result` settles with its end, which the reader is told by the watch. */
export class PendingStream extends Pending<undefined> {
  readonly watch: StreamWatch;
  /** What its reader has not taken yet is bounded by its credit. */
  readonly heldBytes = 0;

  constructor(host: string, argv: Argv, maxWaitingBytes: number) {
    super(host, argv);
    this.watch = new StreamWatch(host, argv, maxWaitingBytes);
    this.result.catch((error: unknown) => {
      this.watch.fail(error);
    });
  }

  protected take(message: Message): void {
    if (message.case === "output") {
      const data = Buffer.from(message.value.data);
      if (message.value.stream === OutputStream.STDERR) this.watch.stderr(data);
      else this.watch.stdout(data);
    } else if (message.case === "exit") {
      this.watch.exit(message.value.exitCode);
      this.watch.close(() => new Error("no exit status"));
      this.succeed(undefined);
    }
  }
}

/** Most bytes of a batch's results, far above any walk of a host. */
const maxAnswerBytes = 128 << 20;

/** A file batch: its results, in pieces. */
export class PendingFiles extends Pending<readonly FileResult[]> {
  readonly #operations: readonly FileOperation[];
  readonly #pieces: Uint8Array[] = [];
  #size = 0;

  constructor(host: string, argv: Argv, operations: readonly FileOperation[]) {
    super(host, argv);
    this.#operations = operations;
  }

  get heldBytes(): number {
    return this.#size;
  }

  protected take(message: Message): void {
    if (message.case !== "files") return;
    const { data, last } = message.value;
    this.#size += data.length;
    if (this.#size > maxAnswerBytes) throw new Error(`the answer has more than ${maxAnswerBytes} bytes`);
    this.#pieces.push(data);
    if (!last) return;
    const { results } = fromBinary(FileBatchAnswerSchema, Buffer.concat(this.#pieces));
    if (results.length !== this.#operations.length) throw new Error(`${results.length} results of ${this.#operations.length} operations`);
    this.succeed(this.#operations.map((operation, index) => fileResultFromMessage(operation, results[index] ?? missing())));
  }

  protected override failure(failure: RequestFailure): StorageError {
    const operation = this.#operations[failure.index];
    if (failure.errno === "" || operation === undefined) return super.failure(failure);
    return new FileOperationError(this.host, failure.index, operation, failure.errno);
  }
}

function missing(): never {
  throw new Error("a result is missing");
}

/** A newer agent may know more words than we do. */
function reasonOf(text: string): Reason {
  return reasons.find((reason) => reason === text) ?? "internal";
}
