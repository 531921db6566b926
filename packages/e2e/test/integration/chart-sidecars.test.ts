import { beforeAll, describe, expect, it } from "vitest";
import { leastValues, render, type Verdict } from "../../src/deploy/chart.ts";
import { containerOf, find, podOf, workloads } from "../../src/deploy/pods.ts";
import { exampleRules, flagsOf, permissions, sidecars, type Rule } from "../../src/deploy/sidecars.ts";
import { canBuildTools, helm, kubeCheck } from "../../src/deploy/tools.ts";

/** Flags of the two whose modules cannot be had by version: from their sources (cmd/.../main.go, 2.14 and 2.13). */
const otherFlags: Readonly<Record<string, readonly string[]>> = {
  "node-driver-registrar": ["v", "csi-address", "kubelet-registration-path", "http-endpoint"],
  "liveness-probe": ["v", "csi-address", "probe-timeout", "http-endpoint"],
};

const rulesOf = (verdicts: readonly Verdict[], kind: string, name: string): Rule[] => find(verdicts, kind, name)["rules"] as Rule[];

describe.runIf(canBuildTools())("sidecars of the chart", () => {
  let verdicts: readonly Verdict[];
  beforeAll(async () => {
    await Promise.all([helm(), kubeCheck()]);
    verdicts = await render({ ...leastValues, storageCapacity: { enabled: true } });
  }, 1_200_000);

  const controller = () => podOf(verdicts, "zfsilo-controller");
  const versionOf = (name: string): string => containerOf(controller(), name).image.replace(/^.*:/, "");

  it.each(sidecars)("starts $name with flags that this version has", { timeout: 300_000 }, async (sidecar) => {
    // klog defines --v in a package of its own.
    const known = new Set([...(await flagsOf(sidecar, versionOf(sidecar.name))), "v"]);
    expect(known.size).toBeGreaterThan(15);
    for (const name of flagNames(containerOf(controller(), sidecar.name).args)) expect(known, name).toContain(name);
  });

  it("starts the others with flags that they have", () => {
    for (const [name, flags] of Object.entries(otherFlags)) {
      const containers = workloads(verdicts).flatMap(({ pod }) => pod.containers.filter((container) => container.name === name));
      expect(containers.length).toBeGreaterThan(0);
      for (const { args } of containers) expect(flags).toEqual(expect.arrayContaining(flagNames(args)));
    }
  });

  it.each(sidecars)("lets $name do no more than its own example roles", { timeout: 300_000 }, async (sidecar) => {
    const role = sidecar.name.replace("csi-", "zfsilo-");
    const example = permissions(await exampleRules(sidecar, versionOf(sidecar.name)));
    expect(example.size).toBeGreaterThan(10);
    // Its pkg/controller/controller.go gets the class that a claim names; the example has not followed.
    if (sidecar.name === "csi-provisioner") example.add("storage.k8s.io/volumeattributesclasses:get");
    for (const permission of permissions(rulesOf(verdicts, "ClusterRole", role))) expect(example).toContain(permission);
    for (const permission of permissions(rulesOf(verdicts, "Role", "zfsilo-controller"))) {
      if (permission.startsWith("coordination.k8s.io/")) expect(example).toContain(permission);
    }
  });

  it("gives nobody secrets, wildcards or other people's roles", () => {
    const rules = verdicts.flatMap(({ object }) => (object.kind.endsWith("Role") ? (object["rules"] as Rule[]) : []));
    const all = [...permissions(rules)];
    expect(all.length).toBeGreaterThan(40);
    expect(all.filter((permission) => /\*|secrets|roles|impersonate|escalate|bind|exec|serviceaccounts/.test(permission))).toEqual([]);
  });

  it("binds every role to the controller, and no other account to any", () => {
    const bindings = verdicts.filter(({ object }) => object.kind.endsWith("RoleBinding"));
    expect(bindings).toHaveLength(5);
    for (const { object } of bindings) {
      expect(object["subjects"]).toEqual([{ kind: "ServiceAccount", name: "zfsilo-controller", namespace: "storage" }]);
      find(verdicts, (object["roleRef"] as { kind: string }).kind, object.metadata.name);
    }
    expect(controller().serviceAccountName).toBe("zfsilo-controller");
  });

  it("asks for no more than an installation without capacity needs", async () => {
    const without = await render(leastValues);
    const left = permissions([...rulesOf(without, "ClusterRole", "zfsilo-provisioner"), ...rulesOf(without, "Role", "zfsilo-controller")]);
    expect([...left].filter((permission) => /\/(?:nodes|csinodes|csistoragecapacities|pods|replicasets):/.test(permission))).toEqual([]);
    expect(containerOf(podOf(without, "zfsilo-controller"), "csi-provisioner").args).not.toContain("--enable-capacity");
  });
});

function flagNames(args: readonly string[] = []): string[] {
  return args.map((arg) => /^--([\w-]+)/.exec(arg)?.[1] ?? arg);
}
