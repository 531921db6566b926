import type { KubeObject, Verdict } from "../deploy/chart.ts";
import { find } from "../deploy/pods.ts";
import { snapshotKinds } from "../deploy/sidecars.ts";
import { namespace, soon, type KubeApi, type LiveObject } from "./api.ts";

/** The name of the controller's one pod. */
export const controllerPod = "zfsilo-controller-0";

/** As `helm install` does, on a cluster that has the kinds of snapshots. */
export async function installChart(api: KubeApi, verdicts: readonly Verdict[], snapshotVersion: string): Promise<void> {
  await api.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  // Kubernetes makes one in every namespace, for pods that name none.
  await api.create({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default" } });
  for (const kind of await snapshotKinds(snapshotVersion)) {
    await api.createYaml("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kind);
  }
  for (const group of ["snapshot.storage.k8s.io/v1", "groupsnapshot.storage.k8s.io/v1"]) {
    await soon(`the kinds of ${group}`, async () => api.serves(group));
  }
  for (const { object } of verdicts) await api.create(object);
  await startPod(api, find(verdicts, "Deployment", "zfsilo-controller"));
}

/** What Kubernetes makes of a Deployment: the ReplicaSet and, here, one pod. */
async function startPod(api: KubeApi, { apiVersion, kind, metadata, spec }: KubeObject): Promise<void> {
  const { selector, template } = spec as { selector: object; template: { metadata: object; spec: object } };
  const deployment = await api.get({ apiVersion, kind, metadata });
  const setMetadata = { name: "zfsilo-controller", ownerReferences: [owner(deployment)] };
  const set = { apiVersion, kind: "ReplicaSet", metadata: setMetadata, spec: { selector, template } };
  const podMetadata = { ...template.metadata, name: controllerPod, ownerReferences: [owner(await api.create(set))] };
  const pod = { apiVersion: "v1", kind: "Pod", metadata: podMetadata, spec: template.spec };
  await api.create(pod);
}

function owner(object: LiveObject | undefined): object {
  if (object === undefined) throw new Error("the Deployment is not there");
  const { apiVersion, kind, metadata } = object;
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid, controller: true };
}
