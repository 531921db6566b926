import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { GroupSnapshotService, HostService, Service, SnapshotService, VolumeService } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { readFile } from "node:fs/promises";
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
  const transport = createConnectTransport({
    baseUrl: config["control-plane"],
    httpVersion: "2",
    interceptors: [asControlPlaneError, withToken(config["token-file"])],
    // A control plane that vanished without a word is noticed within 15 s.
    pingIntervalMs: 10_000,
    pingTimeoutMs: 5_000,
    nodeOptions: await certificates(config),
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

async function certificates(config: CsiConfig): Promise<{ ca?: Buffer; cert?: Buffer; key?: Buffer }> {
  const [ca, cert, key] = await Promise.all(
    (["ca-file", "cert-file", "key-file"] as const).map(async (flag) => {
      const file = config[flag];
      return file === undefined ? undefined : await readFlagged(flag, file);
    }),
  );
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

async function readFlagged(flag: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new StorageError("invalid_argument", `read ${file} of --${flag}`, { cause: error });
  }
}
