import { describe, expect, it } from "vitest";
import { parseFlags } from "./config.ts";

const enough = ["--endpoint=unix:///run/csi.sock", "--control-plane=http://127.0.0.1:8080", "--token-file=/t", "--node-id=worker-1"];

describe("parseFlags", () => {
  it("fills in what is not said", () => {
    expect(parseFlags(enough)).toMatchObject({
      mode: "all",
      endpoint: "/run/csi.sock",
      "driver-name": "csi.zfsilo.io",
      "max-volumes-per-node": 0,
      "log-level": "info",
    });
  });

  it.each(["unix:/run/csi.sock", "unix:///run/csi.sock"])("reads the endpoint %s", (endpoint) => {
    expect(parseFlags([...enough, `--endpoint=${endpoint}`]).endpoint).toBe("/run/csi.sock");
  });

  it("needs no node id where there is no node service", () => {
    expect(parseFlags(["--mode=controller", ...enough.slice(0, 3)])["node-id"]).toBeUndefined();
  });

  it("is the agent of a node that it knows by name", () => {
    const named = parseFlags([...enough.slice(0, 3), "--mode=node", "--node-name=ip-10-0-0-1.eu.example", "--agent-place=nsenter"]);
    expect(named).toMatchObject({ "agent-place": "nsenter", "agent-credential-file": "/var/lib/zfsilo/agent/credential.json" });
    expect(() => parseFlags(enough.slice(0, 3))).toThrow("--node-id: modes node and all need either");
    expect(() => parseFlags([...enough, "--node-name=worker-1"])).toThrow("--node-id: modes node and all need either");
  });

  it("takes a control plane elsewhere with TLS, or without when told to", () => {
    expect(() => parseFlags([...enough, "--control-plane=https://zfsilo.example:8443"])).not.toThrow();
    expect(() => parseFlags([...enough, "--control-plane=http://10.0.0.1:8080", "--plain-text"])).not.toThrow();
  });

  it.each([
    [["--endpoint=tcp://127.0.0.1:1"], "--endpoint: write unix:///path"],
    [[`--endpoint=unix:///${"x".repeat(110)}`], "--endpoint: is longer than the 107 bytes"],
    [["--control-plane=zfsilo:8080"], "--control-plane: write http://"],
    [["--control-plane=http://10.0.0.1:8080"], "--control-plane: is not on this machine and has no TLS"],
    [["--control-plane=http://127.0.0.1.evil.example"], "--control-plane: is not on this machine"],
    [["--node-id=Worker.1"], "--node-id: write the id"],
    [["--driver-name=CSI"], "--driver-name: write a reversed domain"],
    [["--cert-file=/c"], "--key-file: cert-file and key-file go together"],
    [["--max-volumes-per-node=-1"], "--max-volumes-per-node"],
    [["--mode=everything"], "--mode"],
    [["--agent-place=elsewhere"], "--agent-place: write host, nsenter or chroot"],
    [["--health-address=9809"], "--health-address: write ADDRESS:PORT"],
    [["--nonsense"], "read the command line"],
  ])("refuses %j", (flags, message) => {
    expect(() => parseFlags([...enough, ...flags])).toThrow(message);
  });
});
