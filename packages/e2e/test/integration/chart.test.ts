import { parseConfig } from "@zfsilo/control-plane";
import { parseFlags } from "@zfsilo/csi";
import { createHash, X509Certificate } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { leastValues, render, renderText, type KubeObject, type Verdict } from "../../src/deploy/chart.ts";
import { containerOf, find, names, podOf, workloads, type Container } from "../../src/deploy/pods.ts";
import { canBuildTools, helm, kubeCheck } from "../../src/deploy/tools.ts";

const external = {
  ...leastValues,
  controlPlane: { external: { address: "https://storage.example.org:8443" } },
  token: { existingSecret: "storage-token" },
  tls: { mode: "existing", existingSecret: "storage-ca" },
};

const classes = {
  storageClasses: [
    { name: "zfsilo", default: true, parameters: { "csi.storage.k8s.io/fstype": "xfs" } },
    { name: "zfsilo-kept", reclaimPolicy: "Retain", volumeBindingMode: "Immediate", allowVolumeExpansion: false, mountOptions: ["noatime"] },
  ],
  volumeSnapshotClasses: [{ name: "zfsilo" }],
  volumeGroupSnapshotClasses: [{ name: "zfsilo", deletionPolicy: "Retain" }],
  volumeAttributesClasses: [{ name: "archive", parameters: { compression: "zstd" } }],
};

const valueSets: Readonly<Record<string, object>> = {
  "nothing but images": leastValues,
  "an external control plane": external,
  "an external control plane in plain text": { ...external, controlPlane: { external: { address: "http://10.9.0.2:8080" } }, tls: { mode: "none" } },
  "nodes only": { ...external, controller: { enabled: false } },
  "certificates and a token of one's own": {
    ...leastValues,
    tls: { mode: "existing", existingSecret: "cert-manager-made" },
    token: { existingSecret: "storage-token", sha256: "0".repeat(64) },
  },
  "plain text": { ...leastValues, tls: { mode: "none" } },
  "a data directory on one node": {
    ...leastValues,
    controlPlane: { persistence: { type: "hostPath" }, nodeSelector: { "kubernetes.io/hostname": "one" } },
  },
  "one replica, no snapshots, capacity": {
    ...leastValues,
    controller: { replicas: 1, snapshotter: { enabled: false } },
    storageCapacity: { enabled: true },
    networkPolicy: { enabled: false },
  },
  "classes, monitoring, a load balancer": {
    ...leastValues,
    ...classes,
    serviceMonitor: { enabled: true, labels: { release: "prometheus" } },
    controlPlane: { service: { type: "LoadBalancer", loadBalancerSourceRanges: ["10.9.0.0/24"] } },
    networkPolicy: { extraIngress: [{ ipBlock: { cidr: "10.9.0.0/24" } }] },
    images: { ...leastValues.images, pullSecrets: [{ name: "registry" }] },
  },
};

const allContainers = (verdicts: readonly Verdict[]): Container[] =>
  workloads(verdicts).flatMap(({ pod }) => [...(pod.initContainers ?? []), ...pod.containers]);

describe.runIf(canBuildTools())("chart", () => {
  beforeAll(async () => {
    // Building the tools for the first time takes minutes; afterwards they are kept.
    await Promise.all([helm(), kubeCheck()]);
  }, 1_200_000);

  describe.each(Object.entries(valueSets))("with %s", (_name, values) => {
    let verdicts: readonly Verdict[];
    beforeAll(async () => {
      verdicts = await render(values);
    });

    it("renders objects that an API server accepts", () => {
      expect(verdicts.filter(({ errors }) => errors.length > 0)).toEqual([]);
      expect(verdicts.length).toBeGreaterThan(3);
      expect(new Set(names(verdicts)).size).toBe(verdicts.length);
    });

    it("pins every image", () => {
      for (const { image } of allContainers(verdicts)) expect(image).toMatch(/^[^:@]+\/[^:@]+:v?\d+\.\d+\.\d+$/);
    });

    it("probes every container that stays", () => {
      for (const { pod } of workloads(verdicts)) {
        for (const { name, livenessProbe } of pod.containers) {
          if (name !== "liveness-probe") expect(livenessProbe, name).toBeDefined();
        }
        const ports = pod.containers.flatMap((container) => container.ports ?? []);
        expect(new Set(ports.map(({ containerPort }) => containerPort)).size).toBe(ports.length);
      }
    });

    it("gives containers no more than they need", () => {
      for (const { name, pod } of workloads(verdicts)) {
        expect(pod.hostNetwork).toBeUndefined();
        expect(pod.securityContext?.["seccompProfile"]).toEqual({ type: "RuntimeDefault" });
        expect(pod.priorityClassName).toMatch(/^system-(?:node|cluster)-critical$/);
        expect(pod.hostPID ?? false).toBe(name.endsWith("-node"));
        for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
          expect(container.resources?.limits).toHaveProperty("memory");
          expect(container.resources?.requests).toHaveProperty("cpu");
          expect(container.securityContext).toMatchObject({ readOnlyRootFilesystem: true });
          const privileged = name.endsWith("-node") && container.name === "driver";
          if (privileged) expect(container.securityContext).toMatchObject({ privileged: true });
          else expect(container.securityContext).toMatchObject({ allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } });
        }
        // The images' own user has no rights: on nodes the driver has to be root.
        expect(pod.securityContext).toMatchObject(name.endsWith("-node") ? { runAsUser: 0 } : { runAsNonRoot: true, runAsUser: 65_532 });
        if (!name.endsWith("-controller")) expect(pod.automountServiceAccountToken).toBe(false);
      }
    });

    it("mounts only what is there", () => {
      for (const { pod } of workloads(verdicts)) {
        for (const { secret, configMap } of pod.volumes ?? []) {
          if (configMap !== undefined) find(verdicts, "ConfigMap", configMap.name);
          if (secret === undefined || !secret.secretName.startsWith("zfsilo-")) continue;
          const { data } = find(verdicts, "Secret", secret.secretName) as KubeObject & { data: object };
          for (const { key } of secret.items) expect(data).toHaveProperty([key]);
        }
      }
    });

    it("starts the driver with flags that it takes", () => {
      const drivers = workloads(verdicts).flatMap(({ pod }) => pod.containers.filter(({ name }) => name === "driver"));
      expect(drivers.length).toBeGreaterThan(0);
      for (const driver of drivers) {
        const config = parseFlags(withoutVariables(driver.args ?? []));
        expect(config.endpoint).toBe("/csi/csi.sock");
        expect(config["driver-name"]).toBe(verdicts.find(({ object }) => object.kind === "CSIDriver")?.object.metadata.name);
        for (const file of ["token-file", "ca-file"] as const) {
          const mounts = driver.volumeMounts?.map(({ mountPath }) => `${mountPath}/`) ?? [];
          if (config[file] !== undefined) expect(mounts.some((mount) => config[file]?.startsWith(mount))).toBe(true);
        }
      }
    });

    it("lets the driver choose the filesystem where a claim names none: a restored one has that of its source", () => {
      expect(allContainers(verdicts).flatMap(({ args = [] }) => args).filter((arg) => arg.startsWith("--default-fstype"))).toEqual([]);
    });

    it("configures a control plane that knows the driver's token", () => {
      if (!names(verdicts).includes("StatefulSet/zfsilo-control-plane")) return;
      const { data } = find(verdicts, "ConfigMap", "zfsilo-control-plane") as KubeObject & { data: Record<string, string> };
      const config = parseConfig({}, { name: "zfsilo.json", text: data["zfsilo.json"] ?? "" });
      expect(config.tokens.map(({ name }) => name)).toEqual(["csi"]);
      const { volumeMounts } = containerOf(podOf(verdicts, "zfsilo-control-plane"), "control-plane");
      const hasCertificate = volumeMounts?.some(({ mountPath }) => config.tls?.certFile === `${mountPath}/tls.crt`) ?? false;
      expect([config.allowPlaintext, hasCertificate]).toEqual([!hasCertificate, !config.allowPlaintext]);
      expect(config.hosts).toEqual([]);
      const secret = verdicts.find(({ object }) => object.metadata.name === "zfsilo-token")?.object as (KubeObject & { data: { token: string } }) | undefined;
      if (secret === undefined) return;
      const token = Buffer.from(secret.data.token, "base64").toString();
      expect(token).toMatch(/^\w{43}$/);
      expect(config.tokens[0]?.sha256).toBe(createHash("sha256").update(token).digest("hex"));
    });
  });

  it("makes a certificate that stands for every name of the Service", async () => {
    const verdicts = await render({ ...leastValues, tls: { extraDnsNames: ["storage.example.org"], extraIpAddresses: ["10.9.0.2"] } });
    const { data } = find(verdicts, "Secret", "zfsilo-tls") as KubeObject & { data: Record<string, string> };
    const pem = (key: string): Buffer => Buffer.from(data[key] ?? "", "base64");
    const [certificate, ca] = [new X509Certificate(pem("tls.crt")), new X509Certificate(pem("ca.crt"))];
    const args = containerOf(podOf(verdicts, "zfsilo-controller"), "driver").args ?? [];
    const { hostname } = new URL(parseFlags(args)["control-plane"]);
    expect(hostname).toBe("zfsilo-control-plane.storage.svc");
    for (const name of [hostname, "zfsilo-control-plane", "localhost", "storage.example.org"]) expect(certificate.checkHost(name)).toBe(name);
    expect(certificate.checkIP("10.9.0.2")).toBe("10.9.0.2");
    expect([ca.ca, certificate.ca, certificate.verify(ca.publicKey)]).toEqual([true, false, true]);
  });

  it.each([
    ["a misspelt key", { ...leastValues, controller: { replica: 1 } }, /controller.*'replica' not allowed/],
    ["a misspelt key in a list", { ...leastValues, storageClasses: [{ name: "a", reclaimPolice: "Retain" }] }, /reclaimPolice/],
    ["a wrong type", { ...leastValues, controller: { replicas: "two" } }, /controller\/replicas/],
    ["no registry", {}, /images\.registry/],
    ["a floating tag", { images: { ...leastValues.images, csi: { name: "zfsilo-csi", tag: "latest" } } }, /images\/csi/],
    ["a certificate without a Secret", { ...external, tls: { mode: "existing" } }, /tls\/existingSecret/],
    ["a token whose hash is not known", { ...leastValues, token: { existingSecret: "t" } }, /token\.sha256/],
    ["an external control plane without a token", { ...external, token: {} }, /token\.existingSecret/],
    ["settings that the chart makes", { ...leastValues, controlPlane: { config: { listen: ":1" } } }, /controlPlane\/config/],
    ["a duration without unit", { ...leastValues, controller: { attacher: { timeout: "60", workers: 1 } } }, /attacher\/timeout/],
  ])("refuses %s", async (_name, values, problem) => {
    await expect(renderText(values)).rejects.toThrow(problem);
  });
});

/** $(NAME) is replaced by Kubernetes. */
function withoutVariables(args: readonly string[]): string[] {
  return args.map((arg) => arg.replace(/\$\(\w+\)/, "replaced"));
}
