import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import type { Container } from "../deploy/pods.ts";
import { unusedPort } from "./free-port.ts";

/** A container of the chart, running as a process of this machine. */
export interface RunningSidecar {
  readonly name: string;
  /** Undefined while it runs. */
  readonly exitCode: number | undefined;
  /** The status that its HTTP endpoint answers with, 0 when there is none. */
  status(path: string): Promise<number>;
  stop(): Promise<void>;
}

export interface Place {
  /** Of its log. */
  readonly directory: string;
  readonly kubeconfig: string;
  /** Of the driver: /csi/csi.sock in the pod. */
  readonly socket: string;
  /** What metadata.* of the pod is. */
  readonly pod: Readonly<Record<string, string>>;
}

const endpointFlag = "--http-endpoint=";

/** With the arguments of the chart, but for three: where the socket is, where it listens, and who it is for Kubernetes. */
export async function startSidecar(program: string, container: Container, place: Place): Promise<RunningSidecar> {
  const address = `127.0.0.1:${await unusedPort()}`;
  const env = environment(container, place.pod);
  const args = (container.args ?? []).map((arg) =>
    arg.startsWith(endpointFlag)
      ? `${endpointFlag}${address}`
      : arg.replace("/csi/csi.sock", place.socket).replace(/\$\((\w+)\)/g, (_, name: string) => env[name] ?? ""),
  );
  return startProgram(program, [...args, `--kubeconfig=${place.kubeconfig}`], { name: container.name, directory: place.directory, address, env });
}

export interface ProgramOptions {
  readonly name: string;
  readonly directory: string;
  readonly address: string;
  readonly env?: Readonly<Record<string, string>>;
}

export function startProgram(program: string, args: readonly string[], { name, directory, address, env = {} }: ProgramOptions): RunningSidecar {
  const child = spawn(program, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  child.stderr.pipe(createWriteStream(join(directory, `${name}.log`)));
  const exited = once(child, "exit");
  return {
    name,
    get exitCode() {
      return child.exitCode ?? undefined;
    },
    status: async (path) =>
      fetch(`http://${address}${path}`).then(
        ({ status }) => status,
        () => 0,
      ),
    async stop() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

function environment({ env = [] }: Container, pod: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    env.map(({ name, value, valueFrom }) => {
      const set = value ?? pod[valueFrom?.fieldRef.fieldPath ?? ""];
      if (set === undefined) throw new Error(`what is ${name} to be?`);
      return [name, set];
    }),
  );
}
