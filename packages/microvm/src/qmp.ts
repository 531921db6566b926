import { createConnection, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { StorageError } from "@zfsilo/lib";

/** One command on QEMU's monitor (QMP over a unix socket): connect, negotiate, ask, disconnect. QEMU serves one client. */
export async function qmpCommand(
  socketPath: string,
  command: string,
  argument: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<unknown> {
  const socket = await connect(socketPath, signal);
  const lines = createInterface({ input: socket });
  // A destroyed socket never ends, and readline would wait for that end.
  socket.once("close", () => {
    lines.close();
  });
  const abort = (): void => void socket.destroy();
  signal.addEventListener("abort", abort, { once: true });
  try {
    const replies = lines[Symbol.asyncIterator]();
    await next(replies, "QMP", command);
    await ask(socket, replies, "qmp_capabilities", {});
    return await ask(socket, replies, command, argument);
  } finally {
    signal.removeEventListener("abort", abort);
    socket.destroy();
  }
}

/** A command in the words of the human monitor, for the few that QMP itself lacks (savevm). It answers with text only on failure. */
export async function humanCommand(socketPath: string, line: string, signal: AbortSignal): Promise<void> {
  const answer = await qmpCommand(socketPath, "human-monitor-command", { "command-line": line }, signal);
  if (typeof answer === "string" && answer.trim() !== "") {
    throw new StorageError("internal", `QEMU monitor: ${line}`, { cause: new Error(answer.trim()) });
  }
}

async function ask(
  socket: Socket,
  replies: AsyncIterator<string>,
  command: string,
  argument: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  socket.write(`${JSON.stringify({ execute: command, arguments: argument })}\n`);
  const reply = await next(replies, "return", command);
  return reply["return"];
}

/** The next message that holds `key`; events in between are skipped. */
async function next(replies: AsyncIterator<string>, key: string, command: string): Promise<Record<string, unknown>> {
  for (;;) {
    const line = await replies.next();
    if (line.done === true) {
      throw new StorageError("unavailable", `QEMU monitor: ${command}`, { cause: new Error("connection closed") });
    }
    const message = JSON.parse(line.value) as Record<string, unknown>;
    if (key in message) return message;
    if ("error" in message) {
      throw new StorageError("internal", `QEMU monitor: ${command}`, { cause: new Error(JSON.stringify(message["error"])) });
    }
  }
}

function connect(path: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = createConnection(path);
    socket.once("connect", () => {
      resolve(socket);
    });
    socket.once("error", (cause) => {
      reject(new StorageError("unavailable", "connect to QEMU's monitor", { cause }));
    });
  });
}
