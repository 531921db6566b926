import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { until } from "../api/until.ts";

/** An object that may not exist yet. */
export interface Reference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

export interface ApiServer {
  readonly port: number;
  /** PEM. */
  readonly certificate: Buffer;
  readonly token: string;
}

/** As much of an object as the tests look at, of whatever kind it is. */
export interface LiveObject extends Reference {
  readonly metadata: { readonly name: string; readonly uid?: string; readonly finalizers?: readonly string[]; readonly ownerReferences?: readonly object[] };
  readonly storageClassName?: string;
  readonly capacity?: string;
  readonly spec?: {
    readonly volumeName?: string;
    readonly holderIdentity?: string;
    readonly storageCapacity?: boolean;
    readonly drivers?: readonly object[];
    readonly csi?: { readonly volumeHandle: string; readonly fsType?: string; readonly volumeAttributes?: Record<string, string> };
  };
  readonly status?: {
    readonly phase?: string;
    readonly capacity?: { readonly storage: string };
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly currentVolumeAttributesClassName?: string;
    readonly attached?: boolean;
    readonly attachmentMetadata?: Record<string, string>;
    readonly readyToUse?: boolean;
  };
}

interface Resource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** The namespace of everything that is not the cluster's. */
export const namespace = "storage";

/** As much of the Kubernetes API as a test needs to play operator, user and kubelet. */
export class KubeApi {
  readonly #server: ApiServer;
  readonly #resources = new Map<string, readonly Resource[]>();

  constructor(server: ApiServer) {
    this.#server = server;
  }

  async create(object: Reference): Promise<LiveObject> {
    return (await this.#call("POST", await this.#path(object), JSON.stringify(object))) as LiveObject;
  }

  /** For documents that nobody has parsed: an API server reads YAML too. */
  async createYaml(path: string, document: string): Promise<void> {
    await this.#call("POST", path, document, "application/yaml");
  }

  /** Undefined: there is none of that name. */
  async get(object: Reference): Promise<LiveObject | undefined> {
    const path = `${await this.#path(object)}/${object.metadata.name}`;
    return (await this.#call("GET", path, undefined, undefined, [404])) as LiveObject | undefined;
  }

  async list(apiVersion: string, kind: string): Promise<readonly LiveObject[]> {
    const found = await this.#call("GET", await this.#path({ apiVersion, kind, metadata: { name: "" } }));
    return (found as { items: LiveObject[] }).items;
  }

  /** A JSON merge patch (RFC 7386). */
  async patch(object: Reference, change: object, subresource = ""): Promise<LiveObject> {
    const path = `${await this.#path(object)}/${object.metadata.name}${subresource}`;
    return (await this.#call("PATCH", path, JSON.stringify(change), "application/merge-patch+json")) as LiveObject;
  }

  /** At once, where kubelet would have a pod's grace to wait for. With one, a pod is there until its kubelet has ended it. */
  async delete(object: Reference, graceSeconds = 0): Promise<void> {
    const path = `${await this.#path(object)}/${object.metadata.name}?gracePeriodSeconds=${graceSeconds}`;
    await this.#call("DELETE", path, undefined, undefined, [404]);
  }

  async ready(): Promise<boolean> {
    return this.#call("GET", "/readyz").then(
      () => true,
      () => false,
    );
  }

  /** Whether objects of that group and version can be created. */
  async serves(apiVersion: string): Promise<boolean> {
    const found = (await this.#call("GET", `/apis/${apiVersion}`, undefined, undefined, [404, 503])) as { resources: Resource[] } | undefined;
    return (found?.resources.length ?? 0) > 0;
  }

  async #path({ apiVersion, kind }: Reference): Promise<string> {
    const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    let resources = this.#resources.get(apiVersion);
    if (resources === undefined) {
      resources = ((await this.#call("GET", root)) as { resources: Resource[] }).resources;
      this.#resources.set(apiVersion, resources);
    }
    const found = resources.find((resource) => resource.kind === kind && !resource.name.includes("/"));
    if (found === undefined) throw new Error(`${apiVersion} has no ${kind}`);
    return found.namespaced ? `${root}/namespaces/${namespace}/${found.name}` : `${root}/${found.name}`;
  }

  /** Undefined when the answer is one of `tolerated`. */
  async #call(method: string, path: string, body?: string, type = "application/json", tolerated: readonly number[] = []): Promise<unknown> {
    const { port, certificate, token } = this.#server;
    const headers = { authorization: `Bearer ${token}`, accept: "application/json", "content-type": type };
    const call = request({ host: "127.0.0.1", port, path, method, ca: certificate, headers, agent: false });
    call.end(body);
    const [response] = (await once(call, "response")) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const status = response.statusCode ?? 0;
    if (tolerated.includes(status)) return undefined;
    if (status >= 300) throw new Error(`${method} ${path}: ${status}: ${text}`);
    return text.startsWith("{") ? (JSON.parse(text) as unknown) : text;
  }
}

/** What `look` finds. A cluster on this machine takes seconds at most. */
export function soon<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  return until(what, look, { limitMs: 60_000, everyMs: 100 });
}
