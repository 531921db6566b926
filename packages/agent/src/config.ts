import { logLevels, Secret, StorageError, type LogLevel } from "@zfsilo/lib";
import { readFile } from "node:fs/promises";
import { posix } from "node:path";
import { z } from "zod";
import type { AgentOptions } from "./agent.ts";
import type { Place } from "./place.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export type AgentConfig = Omit<AgentOptions, "log" | "executor" | "firstPauseMs"> & { readonly logLevel: LogLevel };

const path = z.string().refine((text) => text.startsWith("/") && posix.normalize(text) === text && text !== "/", "write an absolute path, not /, without . or ..");
const file = z.string().startsWith("/", "write an absolute path").optional();

const schema = z.object({
  ZFSILO_CONTROL_PLANE: z.url({ protocol: /^https?$/, error: "write https://HOST:PORT" }),
  ZFSILO_AGENT_CREDENTIAL_FILE: file.default("/var/lib/zfsilo/agent/credential.json"),
  ZFSILO_JOIN_TOKEN: z.string().min(1).optional(),
  ZFSILO_JOIN_TOKEN_FILE: file,
  ZFSILO_NODE_NAME: z.string().min(1).optional(),
  ZFSILO_AGENT_ALLOWED_ROOTS: z.string().transform((text) => text.split(":")).pipe(z.array(path).min(1)).optional(),
  ZFSILO_AGENT_PLACE: z.enum(["host", "nsenter", "chroot"], "write host, nsenter or chroot").default("host"),
  ZFSILO_AGENT_CHROOT: path.default("/host"),
  ZFSILO_CA_FILE: file,
  ZFSILO_CLIENT_CERT_FILE: file,
  ZFSILO_CLIENT_KEY_FILE: file,
  ZFSILO_LOG_LEVEL: z.enum(logLevels).default("info"),
});

/** `--control-plane URL` is ZFSILO_CONTROL_PLANE=URL, and so on; a flag wins. Secrets have no flag: arguments are visible to all. */
const flags: Readonly<Record<string, keyof z.infer<typeof schema>>> = {
  "--control-plane": "ZFSILO_CONTROL_PLANE",
  "--credential-file": "ZFSILO_AGENT_CREDENTIAL_FILE",
  "--join-token-file": "ZFSILO_JOIN_TOKEN_FILE",
  "--node-name": "ZFSILO_NODE_NAME",
  "--allowed-roots": "ZFSILO_AGENT_ALLOWED_ROOTS",
  "--place": "ZFSILO_AGENT_PLACE",
  "--chroot": "ZFSILO_AGENT_CHROOT",
  "--ca-file": "ZFSILO_CA_FILE",
  "--client-cert-file": "ZFSILO_CLIENT_CERT_FILE",
  "--client-key-file": "ZFSILO_CLIENT_KEY_FILE",
  "--log-level": "ZFSILO_LOG_LEVEL",
};

/** Every refusal names the variable and says what to write. */
export async function parseAgentConfig(env: Environment, args: readonly string[] = []): Promise<AgentConfig> {
  const parsed = schema.safeParse({ ...withoutEmpty(env), ...parseFlags(args) });
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${String(issue.path[0] ?? "")}: ${issue.message}`);
    throw new StorageError("invalid_argument", problems.join("; "), { hint: "docs/agent.md lists every setting." });
  }
  const { data } = parsed;
  return {
    controlPlane: data.ZFSILO_CONTROL_PLANE,
    credentialFile: data.ZFSILO_AGENT_CREDENTIAL_FILE,
    joinToken: await joinTokenOf(data),
    nodeName: data.ZFSILO_NODE_NAME,
    allowedRoots: data.ZFSILO_AGENT_ALLOWED_ROOTS,
    place: placeOf(data),
    tls: { caFile: data.ZFSILO_CA_FILE, certFile: data.ZFSILO_CLIENT_CERT_FILE, keyFile: data.ZFSILO_CLIENT_KEY_FILE },
    logLevel: data.ZFSILO_LOG_LEVEL,
  };
}

function parseFlags(args: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (let at = 0; at < args.length; at += 2) {
    const [flag = "", value] = args.slice(at, at + 2);
    const name = Object.hasOwn(flags, flag) ? flags[flag] : undefined;
    if (name === undefined) throw new StorageError("invalid_argument", `${flag}: is no option`, { hint: `Options: ${Object.keys(flags).join(", ")}.` });
    if (value === undefined) throw new StorageError("invalid_argument", `${flag}: needs a value`);
    settings[name] = value;
  }
  return settings;
}

/** A manifest that leaves a variable empty means that it does not set it. */
function withoutEmpty(env: Environment): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== ""));
}

async function joinTokenOf({ ZFSILO_JOIN_TOKEN: text, ZFSILO_JOIN_TOKEN_FILE: name }: z.infer<typeof schema>): Promise<AgentOptions["joinToken"]> {
  if (text !== undefined) return new Secret(text);
  if (name === undefined) return undefined;
  // A file that cannot be read is said at the start, and not in an hour.
  await readJoinToken(name);
  return () => readJoinToken(name);
}

async function readJoinToken(name: string): Promise<Secret | undefined> {
  try {
    return new Secret((await readFile(name, "utf8")).trim());
  } catch (error) {
    // After enrolling it is not needed any more, and may be gone.
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new StorageError("precondition", `read the join token file ${name}`, { cause: error });
  }
}

function placeOf({ ZFSILO_AGENT_PLACE: kind, ZFSILO_AGENT_CHROOT: root }: z.infer<typeof schema>): Place {
  return kind === "chroot" ? { kind, root } : { kind };
}
