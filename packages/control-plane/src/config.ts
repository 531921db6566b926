import { logLevels, StorageError, type LogLevel } from "@zfsilo/lib";
import { z } from "zod";
import { checkHostSpec, type HostSpec } from "./host/host-spec.ts";
import type { Connection } from "./store/model.ts";

/** Everything that can be configured, with defaults filled in. */
export interface Config {
  /** Address and port, as rpc/listen-address.ts reads them. */
  readonly listen: string;
  readonly dataDir: string;
  /** Undefined: plain text. */
  readonly tls: { readonly certFile: string; readonly keyFile: string; readonly clientCaFile: string | undefined } | undefined;
  /** Plain text also where other machines can connect. */
  readonly allowPlaintext: boolean;
  readonly logLevel: LogLevel;
  /** Beside the admin token. */
  readonly tokens: readonly { readonly name: string; readonly sha256: string }[];
  /** Undefined: made up at the first start and kept in the database. */
  readonly clusterId: string | undefined;
  /** First part of every target name. */
  readonly iqnPrefix: string;
  /** Stand by until another control plane on the same database is gone, instead of refusing to start. */
  readonly waitForLease: boolean;
  /** Begin with an empty database where a secret key tells that there was one. Only the environment says it, for one start. */
  readonly newInstallation: boolean;
  /** Directories of target hosts below which encryption keys of volumes may lie. */
  readonly keyRoots: readonly string[];
  readonly operations: { readonly retentionDays: number };
  /** Between looks at all hosts. 0: only when asked. */
  readonly reconcile: { readonly intervalSeconds: number };
  /** Undefined when the file does not say; an empty list is a choice. */
  readonly hosts: readonly ConfiguredHost[] | undefined;
}

export interface ConfiguredHost extends HostSpec {
  readonly id: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const id = z.string().regex(/^[a-z](?:[a-z0-9_-]{0,61}[a-z0-9])?$/, "use lower-case letters, digits, '_' and '-', a letter first");

const hostSchema = z
  .strictObject({
    id,
    displayName: z.string().default(""),
    labels: z.record(z.string(), z.string()).default({}),
    roles: z.array(z.enum(["target", "initiator"])),
    local: z.strictObject({}).optional(),
    simulated: z.strictObject({}).optional(),
    agent: z.strictObject({}).optional(),
    ssh: z
      .strictObject({
        address: z.string(),
        port: z.int().default(0),
        user: z.string().default(""),
        privateKeyFile: z.string().default(""),
        knownHostsFile: z.string(),
      })
      .optional(),
    pools: z
      .array(
        z.strictObject({
          name: z.string(),
          parentDataset: z.string().default(""),
          quotaBytes: z.union([z.int().min(0), z.string().regex(/^\d{1,19}$/)]).transform(BigInt).optional(),
          overcommitRatio: z.number().default(0),
        }),
      )
      .default([]),
    portals: z.array(z.strictObject({ address: z.string(), port: z.int().default(0) })).default([]),
    initiatorIqn: z.string().default(""),
    allowedRoots: z.array(z.string()).default([]),
  })
  .refine(({ local, simulated, ssh, agent }) => [local, simulated, ssh, agent].filter(Boolean).length === 1, {
    error: "set exactly one of local, ssh, agent, simulated",
  });

const schema = z.strictObject({
  listen: z.string().optional(),
  dataDir: z.string().min(1).optional(),
  tls: z.strictObject({ certFile: z.string().min(1), keyFile: z.string().min(1), clientCaFile: z.string().min(1).optional() }).optional(),
  allowPlaintext: z.boolean().default(false),
  logLevel: z.enum(logLevels).optional(),
  tokens: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        sha256: z.string().regex(/^[0-9a-f]{64}$/, "write the token's SHA-256 as 64 lower-case hex digits: `printf %s TOKEN | sha256sum`"),
      }),
    )
    .default([]),
  clusterId: id.optional(),
  waitForLease: z.boolean().default(false),
  iqnPrefix: z
    .string()
    .max(120)
    .regex(/^iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/, "write iqn.YYYY-MM.reversed.domain in lower case")
    .default("iqn.2026-01.io.zfsilo"),
  reconcile: z.strictObject({ intervalSeconds: z.int().min(0).max(86_400).default(60) }).default({ intervalSeconds: 60 }),
  operations: z.strictObject({ retentionDays: z.int().min(1).max(3650).default(30) }).default({ retentionDays: 30 }),
  keyRoots: z
    .array(z.string().regex(/^(?:\/[^/]+)+$/, "write an absolute path that is not /"))
    .min(1)
    .default(["/etc/zfsilo/keys"]),
  hosts: z.array(hostSchema).optional(),
});

/**
 * The configuration from the environment and the text of the file that ZFSILO_CONFIG names (undefined without one). What
 * the environment says wins. Every refusal names the file and the key, or the variable, and what to write.
 */
export function parseConfig(env: Environment, file: { readonly name: string; readonly text: string } | undefined): Config {
  const { hosts, clusterId, ...settings } = parseFile(file);
  const logLevel = env["ZFSILO_LOG_LEVEL"] ?? settings.logLevel ?? "info";
  return {
    ...settings,
    listen: env["ZFSILO_LISTEN"] ?? settings.listen ?? "127.0.0.1:8080",
    dataDir: env["ZFSILO_DATA_DIR"] ?? settings.dataDir ?? "./.zfsilo",
    logLevel: logLevels.find((level) => level === logLevel) ?? badLevel(logLevel),
    tls: tlsFrom(env, settings.tls),
    allowPlaintext: settings.allowPlaintext || ["1", "true"].includes(env["ZFSILO_ALLOW_PLAINTEXT"] ?? ""),
    clusterId,
    waitForLease: settings.waitForLease || ["1", "true"].includes(env["ZFSILO_WAIT_FOR_LEASE"] ?? ""),
    newInstallation: ["1", "true"].includes(env["ZFSILO_NEW_INSTALLATION"] ?? ""),
    hosts: hosts?.map((host, index) => configuredHost(host, file?.name ?? "", index)),
  };
}

function tlsFrom(env: Environment, file: z.infer<typeof schema>["tls"]): Config["tls"] {
  const certFile = env["ZFSILO_TLS_CERT_FILE"] ?? file?.certFile ?? "";
  const keyFile = env["ZFSILO_TLS_KEY_FILE"] ?? file?.keyFile ?? "";
  const clientCaFile = env["ZFSILO_TLS_CLIENT_CA_FILE"] ?? file?.clientCaFile ?? "";
  if (certFile === "" && keyFile === "" && clientCaFile === "") return undefined;
  if (certFile !== "" && keyFile !== "") return { certFile, keyFile, clientCaFile: clientCaFile === "" ? undefined : clientCaFile };
  throw new StorageError("invalid_argument", `${certFile === "" ? "ZFSILO_TLS_CERT_FILE" : "ZFSILO_TLS_KEY_FILE"}: is required for TLS`, {
    hint: "A certificate and its key belong together. Nothing was started.",
  });
}

function badLevel(text: string): never {
  throw new StorageError("invalid_argument", `ZFSILO_LOG_LEVEL: ${JSON.stringify(text)} is no log level`, {
    hint: `Use one of ${logLevels.join(", ")}.`,
  });
}

function parseFile(file: { readonly name: string; readonly text: string } | undefined): z.infer<typeof schema> {
  if (file === undefined) return schema.parse({});
  let content: unknown;
  try {
    content = JSON.parse(file.text);
  } catch (error) {
    throw new StorageError("invalid_argument", `${file.name} is not JSON`, { cause: error, hint: "Mend the file, or unset ZFSILO_CONFIG." });
  }
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${keyOf(path)}: ${message}`);
  throw new StorageError("invalid_argument", `${file.name}: ${problems.join("; ")}`, {
    hint: "docs/operations.md lists every key. Nothing was started.",
  });
}

function keyOf(path: readonly PropertyKey[]): string {
  const key = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
  return key === "" ? "the file" : key.replace(/^\./, "");
}

function configuredHost(host: z.infer<typeof hostSchema>, file: string, index: number): ConfiguredHost {
  const { id: hostId, local: _local, simulated, ssh, agent, ...rest } = host;
  const bare = agent !== undefined ? "agent" : simulated !== undefined ? "simulated" : "local";
  const connection: Connection = ssh !== undefined ? { kind: "ssh", ...ssh } : { kind: bare };
  const key = (field: string): string => `${file}: hosts[${index}].${camelCase(field)}`;
  const pools = rest.pools.map(({ quotaBytes, ...pool }) => ({ ...pool, ...(quotaBytes !== undefined && { quotaBytes }) }));
  return { id: hostId, ...checkHostSpec({ ...rest, pools, connection }, key) };
}

function camelCase(field: string): string {
  return field.replaceAll(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}
