import type { CallLimit } from "./call-limit.ts";
import { CommandError, FileOperationError } from "./command-error.ts";
import type { FileOperation, FileResult } from "./executor.ts";
import { batchArgv } from "./file-operations.ts";
import { decodeAnswer, encodeBatch } from "./file-worker-protocol.ts";
import { fileWorkerProgram } from "./file-worker.ts";
import { RemoteProcess } from "./remote-process.ts";
import type { SshConnection } from "./ssh-connection.ts";

const workerArgv = ["perl", "-e", fileWorkerProgram] as const;

/** One running file worker (file-worker.ts). It performs one batch at a time. */
export class FileWorker {
  readonly #process: RemoteProcess;
  #alive = true;
  #batch = 0;
  #answer: Buffer[] = [];
  #stderr = "";
  #onLine: (line: string) => void = () => undefined;
  #onEnd: () => void = () => undefined;

  constructor(connection: SshConnection) {
    this.#process = new RemoteProcess(connection, {
      stdout: (chunk) => { this.#stdout(chunk); },
      stderr: (chunk) => { this.#stderr = (this.#stderr + chunk.toString("utf8")).slice(0, 1024); },
      exit: () => undefined,
      close: () => {
        this.#alive = false;
        this.#onEnd();
      },
    });
  }

  get alive(): boolean {
    return this.#alive;
  }

  get group(): Promise<number> {
    return this.#process.started;
  }

  /** Resolves when the worker is ready for its first batch. */
  async start(signal: AbortSignal): Promise<void> {
    await this.#process.open([...workerArgv], signal);
    await this.#process.started;
  }

  /** Performs a batch in one round trip. Throws at the limit, after which the worker must not be used again. */
  async perform(host: string, operations: readonly FileOperation[], limit: CallLimit): Promise<readonly FileResult[]> {
    this.#batch += 1;
    const id = this.#batch;
    const line = new Promise<string>((resolve, reject) => {
      this.#onLine = resolve;
      this.#onEnd = () => {
        const cause = new Error(`the file worker ended${this.#stderr === "" ? "" : `: ${this.#stderr}`}`);
        reject(new CommandError("unavailable", host, batchArgv(operations), "unknown", cause));
      };
    });
    this.#process.write(encodeBatch(id, operations));
    const answer = readAnswer(host, id, operations, await limit.race(line, "unknown"));
    if (answer.ok) return answer.results;
    const failed = operations[answer.index] ?? operations[0];
    throw new FileOperationError(host, answer.index, failed ?? { op: "read", path: "/" }, answer.errno);
  }

  close(): void {
    this.#alive = false;
    this.#process.close();
  }

  #stdout(chunk: Buffer): void {
    this.#answer.push(chunk);
    if (!chunk.includes(0x0a)) return;
    const line = Buffer.concat(this.#answer).toString("latin1").trimEnd();
    this.#answer = [];
    this.#onLine(line);
  }
}

function readAnswer(host: string, id: number, operations: readonly FileOperation[], line: string) {
  try {
    return decodeAnswer(id, operations, line);
  } catch (error) {
    throw new CommandError("internal", host, batchArgv(operations), "unknown", error);
  }
}
