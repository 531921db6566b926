import { spawn } from "node:child_process";
import { goProgram } from "../../../csi/test/go-program.ts";

export interface GoCall {
  /** E.g. `Identity/Probe`. */
  readonly method: string;
  readonly request: object;
  readonly timeoutMs?: number;
}

export interface GoAnswer {
  /** grpc-go's word, e.g. `OK`, `InvalidArgument`. */
  readonly code: string;
  readonly message: string;
  readonly responses: readonly Readonly<Record<string, unknown>>[];
}

/** Makes all calls at once with grpc-go over one connection, as the sidecars do; the answers are in the order of the calls. */
export async function callFromGo(socket: string, calls: readonly GoCall[]): Promise<GoAnswer[]> {
  const child = spawn(await goProgram("client"), [`unix://${socket}`], { stdio: ["pipe", "pipe", "inherit"] });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  calls.forEach(({ method, request, timeoutMs = 10_000 }, index) => {
    child.stdin.write(`${JSON.stringify({ id: String(index), method: `csi.v1.${method}`, request, timeoutMs })}\n`);
  });
  child.stdin.end();
  const code = await ended;
  if (code !== 0) throw new Error(`the Go client ended with ${code}`);
  const answers = Buffer.concat(chunks)
    .toString()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as GoAnswer & { readonly id: string });
  return answers.sort((a, b) => Number(a.id) - Number(b.id));
}
