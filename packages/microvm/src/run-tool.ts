import { spawn } from "node:child_process";
import { StorageError } from "@zfsilo/lib";

export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ToolOptions {
  readonly signal: AbortSignal;
  readonly onLine?: (line: string) => void;
  readonly cwd?: string;
}

/** The Debian package of each program that building and running machines needs. */
export const toolPackages = {
  "qemu-system-x86_64": "qemu-system-x86",
  "qemu-img": "qemu-utils",
  mmdebstrap: "mmdebstrap",
  "mkfs.ext4": "e2fsprogs",
  "ssh-keygen": "openssh-client",
  ssh: "openssh-client",
  setpriv: "util-linux",
} as const satisfies Record<string, string>;

/** Runs a program on this machine to its end. Its exit code is data; only a program that cannot start throws. */
export async function runTool(argv: readonly [string, ...string[]], options: ToolOptions): Promise<ToolResult> {
  const [program, ...rest] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      stdio: ["ignore", "pipe", "pipe"],
      env: toolEnvironment(),
      signal: options.signal,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const stdout: string[] = [];
    const stderr: string[] = [];
    collect(child.stdout, stdout, options.onLine);
    collect(child.stderr, stderr, options.onLine);
    child.on("error", (error) => {
      reject(missingTool(program, error));
    });
    child.on("close", (code, killer) => {
      resolve({ code: code ?? 128, stdout: stdout.join(""), stderr: stderr.join("") + (killer === null ? "" : killer) });
    });
  });
}

/** Runs a program that must succeed; `what` says what for. Returns its standard output. */
export async function mustRun(
  what: string,
  argv: readonly [string, ...string[]],
  options: ToolOptions,
): Promise<string> {
  const result = await runTool(argv, options);
  if (result.code === 0) return result.stdout;
  const tail = (result.stderr.trim() === "" ? result.stdout : result.stderr).trim().split("\n").slice(-15).join("\n");
  throw new StorageError("internal", `${what}: ${argv[0]} ended with ${result.code}`, { cause: new Error(tail) });
}

/** /sbin is not on every PATH, and mke2fs and friends are there. */
export function toolEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: "C", PATH: `${process.env["PATH"] ?? "/usr/bin:/bin"}:/usr/sbin:/sbin` };
}

export function missingTool(program: string, error: unknown): unknown {
  if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) return error;
  const packages = [...new Set(Object.values(toolPackages))].join(" ");
  return new StorageError("precondition", `start ${program}`, {
    cause: error,
    hint: `This machine lacks a program that the virtual machines need. On Debian: apt-get install ${packages}`,
  });
}

function collect(stream: NodeJS.ReadableStream, into: string[], onLine: ((line: string) => void) | undefined): void {
  let partial = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    into.push(chunk);
    if (onLine === undefined) return;
    const lines = (partial + chunk).split("\n");
    partial = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
}
