import { logLevels, StorageError } from "@zfsilo/lib";
import { parseArgs } from "node:util";
import { z } from "zod";
import { healthAddressPattern } from "./endpoint/health-server.ts";

/** Which services answer on the socket. Identity always does. */
export const modes = ["controller", "node", "all"] as const;

const places = ["host", "nsenter", "chroot"] as const;

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

const endpoint = z
  .string()
  .regex(/^unix:(?:\/\/)?\/./, "write unix:///path/of/the/socket")
  .transform((text) => text.replace(/^unix:(?:\/\/)?/, ""))
  // sun_path holds 108 bytes with its end (unix(7)); Node cuts a longer path silently.
  .refine((path) => Buffer.byteLength(path) <= 107, "is longer than the 107 bytes that a socket's path may have");

const address = z.url({ protocol: /^https?$/, error: "write http://HOST:PORT or https://HOST:PORT" });

const schema = z
  .strictObject({
    mode: z.enum(modes).default("all"),
    endpoint,
    "control-plane": address,
    "plain-text": z.boolean().default(false),
    "token-file": z.string().min(1),
    "ca-file": z.string().min(1).optional(),
    "cert-file": z.string().min(1).optional(),
    "key-file": z.string().min(1).optional(),
    "driver-name": z
      .string()
      .max(63)
      // CSI spec, GetPluginInfo: domain name notation.
      .regex(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/, "write a reversed domain in lower case, at most 63 characters")
      .default("csi.zfsilo.io"),
    "node-id": z
      .string()
      .regex(/^[a-z](?:[a-z0-9_-]{0,61}[a-z0-9])?$/, "write the id of this machine's host in the control plane")
      .optional(),
    "node-name": z.string().min(1).optional(),
    "agent-place": z.enum(places, "write host, nsenter or chroot").default("host"),
    "agent-credential-file": z.string().startsWith("/").default("/var/lib/zfsilo/agent/credential.json"),
    "agent-allowed-root": z.string().startsWith("/").default("/var/lib/kubelet"),
    "join-token-file": z.string().startsWith("/").optional(),
    "max-volumes-per-node": z.coerce.number().int().min(0).max(100_000).default(0),
    "health-address": z.string().regex(healthAddressPattern, "write ADDRESS:PORT, or :PORT for every address").optional(),
    "log-level": z.enum(logLevels).default("info"),
  })
  .refine(({ mode, "node-id": id, "node-name": name }) => mode === "controller" || (id === undefined) !== (name === undefined), {
    path: ["node-id"],
    error: "modes node and all need either --node-id, of a host that the control plane reaches by itself, or --node-name, to be its agent",
  })
  .refine(({ "cert-file": cert, "key-file": key }) => (cert === undefined) === (key === undefined), {
    path: ["key-file"],
    error: "cert-file and key-file go together",
  })
  .refine((config) => config["plain-text"] || isProtected(config["control-plane"]), {
    path: ["control-plane"],
    error: "is not on this machine and has no TLS: the token would be readable on the way. Use https, or --plain-text",
  });

export type CsiConfig = z.infer<typeof schema>;

const text = { type: "string" } as const;
const options = {
  mode: text,
  endpoint: text,
  "control-plane": text,
  "plain-text": { type: "boolean" },
  "token-file": text,
  "ca-file": text,
  "cert-file": text,
  "key-file": text,
  "driver-name": text,
  "node-id": text,
  "node-name": text,
  "agent-place": text,
  "agent-credential-file": text,
  "agent-allowed-root": text,
  "join-token-file": text,
  "max-volumes-per-node": text,
  "health-address": text,
  "log-level": text,
} as const;

/** The configuration from the command line. Every refusal names the flag and what to write. */
export function parseFlags(argv: readonly string[]): CsiConfig {
  const checked = schema.safeParse(flagsOf(argv));
  if (checked.success) return checked.data;
  const problems = checked.error.issues.map(({ path, message }) => `--${path.join(".")}: ${message}`);
  throw new StorageError("invalid_argument", problems.join("; "));
}

function flagsOf(argv: readonly string[]): object {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new StorageError("invalid_argument", "read the command line", { cause: error, hint: `Known: ${flagNames().join(", ")}.` });
  }
}

function flagNames(): string[] {
  return Object.keys(options).map((name) => `--${name}`);
}

function isProtected(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "https:" || loopback.test(hostname);
}
