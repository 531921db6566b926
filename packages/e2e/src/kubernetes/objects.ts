import type { Reference } from "./api.ts";

export const reference = (apiVersion: string, kind: string, name: string): Reference => ({ apiVersion, kind, metadata: { name } });
export const claimOf = (name: string): Reference => reference("v1", "PersistentVolumeClaim", name);
export const podNamed = (name: string): Reference => reference("v1", "Pod", name);

/** A claim on the default class, which waits for the scheduler to choose a node: it has. */
export function newClaim(name: string, node: string, spec: object = {}): Reference {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name, annotations: { "volume.kubernetes.io/selected-node": node }, labels: { app: "shop" } },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "64Mi" } }, ...spec },
  } as Reference;
}

/** On the node already, as the scheduler leaves it. A claim for raw block takes `volumeDevices` in its container. */
export function newPod(name: string, node: string, claimName: string, spec: object = {}, container: object = mounted): Reference {
  return {
    ...podNamed(name),
    spec: {
      nodeName: node,
      containers: [{ name: "main", image: "registry.example.org/shop:1", ...container }],
      volumes: [{ name: "data", persistentVolumeClaim: { claimName } }],
      automountServiceAccountToken: false,
      ...spec,
    },
  } as Reference;
}

const mounted = { volumeMounts: [{ name: "data", mountPath: "/data" }] };

/** Of a container that has the disk as it is. */
export const asDevice = { volumeDevices: [{ name: "data", devicePath: "/dev/data" }] };
