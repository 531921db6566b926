/** A program and its arguments. Never a shell line: nothing in it is interpreted. */
export type Argv = readonly [string, ...string[]];

export interface CallOptions {
  /** Aborting stops waiting and ends the remote process group; what it had done by then is unknown. */
  readonly signal: AbortSignal;
  /** Default 30,000. At the limit the process group is ended and the call throws `timeout`. */
  readonly timeoutMs?: number;
}

export interface RunOptions extends CallOptions {
  /** Written to standard input, which is closed after it. The only place, with file content, where a secret may travel. */
  readonly stdin?: string;
  /** Most bytes kept of each output stream, default 1 MiB. One more byte ends the command with an error. */
  readonly maxOutputBytes?: number;
}

/** What a process that ran to its end left behind. A non-zero exit is data here: the tool's wrapper says what it means. */
export interface RunResult {
  /** Death by a signal is 128 and its number, as shells report it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StreamOptions extends CallOptions {
  /** Most bytes of output that wait here to be taken, default 1 MiB. The programs wait beyond that. */
  readonly maxWaitingBytes?: number;
}

export interface PipeOptions extends CallOptions {
  /** Most bytes kept of each output, default 1 MiB. One more byte ends both programs with an error. */
  readonly maxOutputBytes?: number;
}

/** How both ends of a pipe ended. Non-zero exits are data here; 127 is a program that is not installed. */
export interface PipeResult {
  readonly producerExitCode: number;
  readonly consumerExitCode: number;
  /** The consumer's. */
  readonly stdout: string;
  /** Of both, as it came. */
  readonly stderr: string;
}

/** What a command of a sequence must print, exactly or not at all, for the next one to run. Its output is text. */
export type Gate = { readonly equals: string } | { readonly without: readonly string[] };

export interface SequencedCommand {
  readonly argv: Argv;
  /** Judged on the host, on standard output. An exit other than 0 stops the sequence with or without it. */
  readonly gate?: Gate;
}

export type Sequence = readonly [SequencedCommand, ...SequencedCommand[]];

/** POSIX error names as Node spells them (`EEXIST`), and `E512` for the kernel-internal ERESTARTSYS that LIO leaks. */
export type Errno = string;

interface Tolerant {
  /** Absolute. Any other refuses the whole batch before it begins. */
  readonly path: string;
  /** Failures that mean "already so" for this caller; they are reported in the result and do not stop the batch. */
  readonly tolerate?: readonly Errno[];
}

/**
 * One file operation. configfs and sysfs give meaning to each single system call, so the mapping is exact:
 * `write` is open(O_WRONLY [, O_CREAT|O_TRUNC]), ONE write(2) of the whole content, close; a short write is EIO.
 * Modes are subject to the usual umask, 022.
 */
export type FileOperation =
  | (Tolerant & { readonly op: "mkdir"; /** Octal mode, default 0o755. */ readonly mode?: number })
  | (Tolerant & { readonly op: "rmdir" })
  | (Tolerant & { readonly op: "unlink" })
  | (Tolerant & { readonly op: "symlink"; readonly target: string })
  | (Tolerant & { readonly op: "readlink" })
  | (Tolerant & { readonly op: "read"; /** Reads at most this many bytes from the start, default 1 MiB; more content than that is cut. */ readonly maxBytes?: number })
  /**
   * Reads every file that matches `path`, in which `*` stands for any run of characters but `/` (and not a leading dot).
   * No match is an empty result; a match that vanishes or cannot be read meanwhile is left out. For sysfs and configfs walks.
   */
  | (Tolerant & { readonly op: "read-glob" })
  | (Tolerant & { readonly op: "list" })
  | (Tolerant & {
      readonly op: "write";
      readonly content: string;
      /** Keeps the content out of recordings, errors and logs. */
      readonly secret?: boolean;
      /** Create the file with this mode when absent, and truncate it when present. Without it the file must exist (configfs, sysfs). */
      readonly create?: { readonly mode: number };
    });

/** One result per operation, in order. */
export interface FileResult {
  /** The tolerated failure, when there was one. */
  readonly errno?: Errno;
  /** `read`: the content, decoded as UTF-8; `readlink`: the target. */
  readonly text?: string;
  /** `read-glob`: path and content of each match, in byte order of the path. */
  readonly files?: readonly (readonly [path: string, content: string])[];
  /** `list`: entry names in byte order, without `.` and `..`. */
  readonly entries?: readonly string[];
}

/** The one way to act on a machine. Local, ssh, agent and simulated hosts implement it and pass one contract suite. */
export interface Executor {
  /** The host this acts on, for errors and logs. */
  readonly host: string;

  /**
   * Runs a program with LC_ALL=C, TZ=UTC and the system PATH (with sbin), in its own process group. Resolves with its exit,
   * whatever the code. Throws CommandError when there was no exit to report: not started, timed out, aborted, output too
   * large, or the connection lost (then `outcome` tells whether it may have taken effect).
   */
  run(argv: Argv, options: RunOptions): Promise<RunResult>;

  /**
   * Runs commands one after the other in one round trip, up to the first that exits with another code than 0 or does not
   * pass its gate, and resolves with the results of those that ran. So a command can be read back, or depend on what the one
   * before it found, without the way back and forth between them. `stdin` is the first one's, the others have none;
   * `timeoutMs` and `maxOutputBytes` are for all of them together. What throws in `run` throws here, and no result is
   * known then: `not_started` says that none began.
   */
  sequence(commands: Sequence, options: RunOptions): Promise<readonly RunResult[]>;

  /**
   * Runs two programs on the host with the standard output of the first as the standard input of the second, and resolves
   * when both have ended. Both are in one process group, which ends also when we are gone: a connection that is lost, or
   * our own death, leaves nothing running. What throws in `run` throws here.
   */
  pipe(producer: Argv, consumer: Argv, options: PipeOptions): Promise<PipeResult>;

  /**
   * A pipe whose output is given piece by piece, as it comes and no faster than it is taken. It begins with the first piece
   * asked for. Ends when both programs have exited with 0; otherwise StreamExitError is thrown after the last piece, with the
   * consumer's exit or, when that is 0, the producer's. What throws in `run` throws here. Whoever stops taking before the
   * end ends both. The programs must not leave anything behind that keeps their output open.
   */
  stream(producer: Argv, consumer: Argv, options: StreamOptions): AsyncIterable<Uint8Array>;

  /**
   * Performs the operations in order, in one round trip, and stops at the first failure that is not tolerated by
   * throwing FileOperationError with its index: those before it have happened, those after it have not.
   */
  files(operations: readonly FileOperation[], options: CallOptions): Promise<readonly FileResult[]>;

  /** Drops connections. Running calls fail as if the connection were lost. */
  close(): Promise<void>;
}
