import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { leastValues, render, type KubeObject, type Verdict } from "../../src/deploy/chart.ts";
import { find, podOf } from "../../src/deploy/pods.ts";
import { canBuildTools, helm, kubeCheck } from "../../src/deploy/tools.ts";

/** As much of an API server as Helm's `lookup` needs: discovery of v1, and Secrets. */
class SecretsServer {
  readonly secrets = new Map<string, KubeObject>();
  readonly asked: string[] = [];
  readonly #server: Server = createServer((request, response) => {
    const path = (request.url ?? "").replace(/\?.*$/, "");
    const answer = this.#answer(path);
    response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer ?? { kind: "Status", apiVersion: "v1", status: "Failure", reason: "NotFound", code: 404 }));
  });

  #answer(path: string): object | undefined {
    const secret = /^\/api\/v1\/namespaces\/storage\/secrets\/(.+)$/.exec(path)?.[1];
    if (secret !== undefined) {
      this.asked.push(secret);
      return this.secrets.get(secret);
    }
    const discovery: Readonly<Record<string, object>> = {
      "/version": { major: "1", minor: "36", gitVersion: "v1.36.3" },
      "/api": { kind: "APIVersions", versions: ["v1"] },
      "/apis": { kind: "APIGroupList", apiVersion: "v1", groups: [] },
      "/api/v1": {
        kind: "APIResourceList",
        groupVersion: "v1",
        resources: [{ name: "secrets", singularName: "secret", namespaced: true, kind: "Secret", verbs: ["get"] }],
      },
    };
    return discovery[path];
  }

  async start(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

describe.runIf(canBuildTools())("upgrades of the chart", () => {
  const cluster = new SecretsServer();
  beforeAll(async () => {
    await Promise.all([helm(), kubeCheck(), cluster.start()]);
  }, 1_200_000);
  afterAll(async () => {
    await cluster.stop();
  });

  const upgrade = (values: object = {}): Promise<readonly Verdict[]> =>
    render({ ...leastValues, ...values }, ["--dry-run=server", `--kube-apiserver=${cluster.url}`], { KUBECONFIG: "/dev/null" });
  const made = ["zfsilo-token", "zfsilo-tls"] as const;
  const secretsOf = (verdicts: readonly Verdict[]): unknown[] => made.map((name) => find(verdicts, "Secret", name)["data"] as unknown);
  const tokenHashOf = (verdicts: readonly Verdict[]): unknown => {
    const { "zfsilo.json": text } = find(verdicts, "ConfigMap", "zfsilo-control-plane")["data"] as Record<string, string>;
    return (JSON.parse(text ?? "") as { tokens: { sha256: string }[] }).tokens[0]?.sha256;
  };

  it("keep the token and the certificates that the first installation made", async () => {
    const installed = await upgrade();
    expect(cluster.asked).toEqual(expect.arrayContaining([...made]));
    for (const name of made) cluster.secrets.set(name, find(installed, "Secret", name));
    const upgraded = await upgrade({ logLevel: "debug" });
    expect(secretsOf(upgraded)).toEqual(secretsOf(installed));
    expect(tokenHashOf(upgraded)).toBe(tokenHashOf(installed));
  });

  it("make others where there were none", async () => {
    cluster.secrets.clear();
    const [one, two] = [await upgrade(), await upgrade()];
    for (const index of made.keys()) expect(secretsOf(one)[index]).not.toEqual(secretsOf(two)[index]);
  });

  it("restart the control plane for its configuration alone", async () => {
    for (const name of made) cluster.secrets.set(name, find(await upgrade(), "Secret", name));
    const checksum = async (values: object): Promise<string | undefined> => {
      const { spec } = find(await upgrade(values), "StatefulSet", "zfsilo-control-plane") as KubeObject & {
        spec: { template: { metadata: { annotations: Record<string, string> } } };
      };
      return spec.template.metadata.annotations["checksum/config"];
    };
    const before = await checksum({});
    expect(before).toMatch(/^[0-9a-f]{64}$/);
    expect(await checksum({ controller: { replicas: 3 } })).toBe(before);
    expect(await checksum({ controlPlane: { config: { reconcile: { intervalSeconds: 30 } } } })).not.toBe(before);
    expect(podOf(await upgrade(), "zfsilo-control-plane").containers).toHaveLength(1);
  });
});
