import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { readTls, type TlsFiles } from "@zfsilo/agent";
import { GroupSnapshotService, HostService, Service, SnapshotService, VolumeService } from "@zfsilo/api";
import { readFile } from "node:fs/promises";
import type { SecureClientSessionOptions } from "node:http2";
import type { CsiConfig } from "./config.ts";
import { asControlPlaneError } from "./control-plane-error.ts";

/** The control plane's API, as far as the driver needs it. */
export interface ControlPlane {
  readonly server: Client<typeof Service>;
  readonly hosts: Client<typeof HostService>;
  readonly volumes: Client<typeof VolumeService>;
  readonly snapshots: Client<typeof SnapshotService>;
  readonly groups: Client<typeof GroupSnapshotService>;
}

export async function connectControlPlane(config: CsiConfig): Promise<ControlPlane> {
  const files = { caFile: config["ca-file"], certFile: config["cert-file"], keyFile: config["key-file"] };
  const certificates: SecureClientSessionOptions = await readTls(files);
  const transport = createConnectTransport({
    baseUrl: config["control-plane"],
    httpVersion: "2",
    interceptors: [asControlPlaneError, withToken(config["token-file"]), withCertificates(files, certificates)],
    // A control plane that vanished without a word is noticed within 15 s.
    pingIntervalMs: 10_000,
    pingTimeoutMs: 5_000,
    nodeOptions: certificates,
  });
  return {
    server: createClient(Service, transport),
    hosts: createClient(HostService, transport),
    volumes: createClient(VolumeService, transport),
    snapshots: createClient(SnapshotService, transport),
    groups: createClient(GroupSnapshotService, transport),
  };
}

/** The file is read for each call: a token that is replaced counts at once. */
function withToken(file: string): Interceptor {
  return (next) => async (request) => {
    const token = (await readFile(file, "utf8")).trim();
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}

/**
 * The files are read for each call, into the options that the transport's next connection is made with: an authority or a
 * client certificate that is replaced counts from then on.
 */
function withCertificates(files: TlsFiles, options: SecureClientSessionOptions): Interceptor {
  return (next) => async (request) => {
    Object.assign(options, await readTls(files));
    return next(request);
  };
}
