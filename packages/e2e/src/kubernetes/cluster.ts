import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kubeCluster } from "../deploy/tools.ts";
import { KubeApi, namespace, soon } from "./api.ts";
import { parseAudit, type ApiCall } from "./audit.ts";
import { unusedPort } from "./free-port.ts";

/** The control plane of a cluster. Its nodes are whatever says that it is one. */
export interface Cluster {
  readonly api: KubeApi;
  /** Of the API server, on 127.0.0.1. */
  readonly port: number;
  /** For logs and the like. */
  readonly directory: string;
  /** Speaks as that account of the chart's namespace. */
  readonly accountConfig: string;
  /** Speaks as an administrator. */
  readonly adminConfig: string;
  /** For the kubelet of `node`, whose port of 127.0.0.1 leads here. A kubeconfig that needs no other file. */
  nodeConfig(): Promise<string>;
  /** What was asked for by the account so far. */
  calls(): Promise<readonly ApiCall[]>;
  stop(): Promise<void>;
}

const adminToken = "administrator";
const accountToken = "account";
const nodeToken = "node";

/** `node`: the one whose kubelet may join, with a kubelet's rights. */
export async function startCluster(account: string, node: string): Promise<Cluster> {
  const program = await kubeCluster();
  const directory = await mkdtemp(join(tmpdir(), "zfsilo-cluster-"));
  const file = (name: string): string => join(directory, name);
  const port = await unusedPort();
  const user = `system:serviceaccount:${namespace}:${account}`;
  const certificate = file("certificates/apiserver.crt");
  await writeFile(file("tokens.csv"), tokens(user, node));
  await writeFile(file("service-accounts.pem"), generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ type: "pkcs8", format: "pem" }));
  await writeFile(file("audit.json"), JSON.stringify(auditPolicy(user)));
  await writeFile(file("admin.json"), JSON.stringify(kubeconfig(port, adminToken, { "certificate-authority": certificate })));
  await writeFile(file("account.json"), JSON.stringify(kubeconfig(port, accountToken, { "certificate-authority": certificate })));

  const child = spawn(program, [directory, file("admin.json"), ...serverFlags(port, file)], { stdio: ["pipe", "ignore", "pipe"] });
  child.stderr.pipe(createWriteStream(file("cluster.log")));
  const exited = once(child, "exit").then(() => {
    throw new Error(`kube-cluster ended:\n${readFileSync(file("cluster.log"), "utf8").slice(-4_000)}`);
  });
  const ready = soon("an API server that is ready", async () => {
    if (!existsSync(certificate)) return undefined;
    const api = new KubeApi({ port, certificate: await readFile(certificate), token: adminToken });
    return (await api.ready()) && api;
  });
  const api = await Promise.race([ready, exited]);
  exited.catch(() => undefined);
  return {
    api,
    port,
    directory,
    adminConfig: file("admin.json"),
    accountConfig: file("account.json"),
    nodeConfig: async () => {
      const authority = await readFile(certificate, "base64");
      return JSON.stringify(kubeconfig(port, nodeToken, { "certificate-authority-data": authority }));
    },
    calls: async () => parseAudit(await readFile(file("audit.log"), "utf8")),
    async stop() {
      child.kill("SIGKILL");
      await exited.catch(() => undefined);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function serverFlags(port: number, file: (name: string) => string): string[] {
  return [
    ...["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", `--secure-port=${port}`, `--cert-dir=${file("certificates")}`],
    // Nobody looks for the API server by its Service, which must not have a loopback address.
    "--endpoint-reconciler-type=none",
    "--service-cluster-ip-range=10.96.0.0/24",
    "--authorization-mode=Node,RBAC",
    // A kubelet reads and writes what concerns its node and the pods there, and nothing else.
    "--enable-admission-plugins=NodeRestriction",
    `--token-auth-file=${file("tokens.csv")}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${file("service-accounts.pem")}`,
    `--service-account-signing-key-file=${file("service-accounts.pem")}`,
    "--allow-privileged",
    `--audit-policy-file=${file("audit.json")}`,
    `--audit-log-path=${file("audit.log")}`,
  ];
}

/** Each line: token, user, uid, groups. */
function tokens(user: string, node: string): string {
  const groups = `system:serviceaccounts,system:serviceaccounts:${namespace}`;
  const lines = [
    `${adminToken},administrator,1,"system:masters"`,
    `${accountToken},${user},2,"${groups}"`,
    `${nodeToken},system:node:${node},3,"system:nodes"`,
  ];
  return `${lines.join("\n")}\n`;
}

function auditPolicy(user: string): object {
  return {
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    omitStages: ["RequestReceived"],
    rules: [{ level: "Metadata", users: [user] }, { level: "None" }],
  };
}

function kubeconfig(port: number, token: string, authority: object): object {
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster: { server: `https://127.0.0.1:${port}`, ...authority } }],
    users: [{ name: "test", user: { token } }],
    contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
    "current-context": "test",
  };
}
