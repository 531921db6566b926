/** One command's channel. What it says arrives at the handlers that were given when it was opened. */
export interface SshChannel {
  write(data: string): void;
  /** End of the command's standard input. */
  end(): void;
  /** Lets go of the command without ending it. */
  close(): void;
  /** Takes no more of its output than what is on its way, until resume(). */
  pause(): void;
  resume(): void;
}

export interface SshChannelHandlers {
  stdout(chunk: Buffer): void;
  stderr(chunk: Buffer): void;
  exit(code: number | null, signal?: string | null): void;
  /** Nothing follows. Called also when the connection is lost. */
  close(): void;
}

/** An authenticated connection to a host: what the executor needs of an ssh library. */
export interface SshConnection {
  /** Throws ChannelRefusedError when the command certainly did not start. Any other error leaves that open. */
  open(line: string, handlers: SshChannelHandlers): Promise<SshChannel>;
  /** Resolves, with the reason, when the connection is gone. */
  readonly lost: Promise<Error>;
  end(): void;
}

export type SshConnector = () => Promise<SshConnection>;

/** The server opened no channel, or none that runs commands: more than its MaxSessions are open, or a forced command. */
export class ChannelRefusedError extends Error {
  /** The server itself said no, which passes when other channels close. Otherwise the connection was gone already. */
  readonly byServer: boolean;

  constructor(cause: unknown, byServer: boolean) {
    super("the ssh server opened no channel for the command", { cause });
    this.name = "ChannelRefusedError";
    this.byServer = byServer;
  }
}

/** What stood in the way: no answer, what we log in with, or a machine that shows another host key than the known one. */
export type SshConnectProblem = "unreachable" | "credentials" | "host_key";

/** No connection came about; `hint` says what a person can do. */
export class SshConnectError extends Error {
  readonly hint: string | undefined;
  readonly kind: SshConnectProblem;

  constructor(message: string, options: { readonly cause?: unknown; readonly hint?: string; readonly kind?: SshConnectProblem }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SshConnectError";
    this.hint = options.hint;
    this.kind = options.kind ?? "unreachable";
  }
}
