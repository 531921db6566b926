import type { KubeObject, Verdict } from "./chart.ts";

/** As much of a container as the tests look at. */
export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly env?: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } };
  }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly livenessProbe?: { readonly httpGet: { readonly path: string; readonly port: string | number } };
  readonly readinessProbe?: { readonly httpGet: { readonly path: string; readonly port: string | number } };
  readonly resources?: { readonly requests?: Readonly<Record<string, string>>; readonly limits?: Readonly<Record<string, string>> };
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly mountPropagation?: string }[];
}

export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly {
    readonly name: string;
    readonly secret?: { readonly secretName: string; readonly items: readonly { readonly key: string; readonly path: string }[] };
    readonly hostPath?: { readonly path: string };
    readonly configMap?: { readonly name: string };
  }[];
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly priorityClassName?: string;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly securityContext?: Readonly<Record<string, unknown>>;
}

export function find(verdicts: readonly Verdict[], kind: string, name: string): KubeObject {
  const found = verdicts.find(({ object }) => object.kind === kind && object.metadata.name === name)?.object;
  if (found === undefined) throw new Error(`there is no ${kind} ${name} among ${names(verdicts).join(", ")}`);
  return found;
}

export function names(verdicts: readonly Verdict[]): string[] {
  return verdicts.map(({ object }) => `${object.kind}/${object.metadata.name}`);
}

/** Of everything that runs pods. */
export function workloads(verdicts: readonly Verdict[]): { readonly name: string; readonly pod: PodSpec }[] {
  return verdicts
    .map(({ object }) => object)
    .filter(({ kind }) => ["Deployment", "DaemonSet", "StatefulSet"].includes(kind))
    .map((object) => ({ name: object.metadata.name, pod: (object["spec"] as { template: { spec: PodSpec } }).template.spec }));
}

export function podOf(verdicts: readonly Verdict[], name: string): PodSpec {
  const found = workloads(verdicts).find((workload) => workload.name === name);
  if (found === undefined) throw new Error(`nothing runs pods as ${name}`);
  return found.pod;
}

export function containerOf(pod: PodSpec, name: string): Container {
  const found = pod.containers.find((container) => container.name === name);
  if (found === undefined) throw new Error(`there is no container ${name}`);
  return found;
}
