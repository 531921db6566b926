import { create } from "@bufbuild/protobuf";
import { createClient, type Client } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { csi } from "@zfsilo/api";
import { parseFlags, startDriver } from "@zfsilo/csi";
import { createLogger } from "@zfsilo/lib";
import net from "node:net";
import { join } from "node:path";
import { temporaryDirectory, type System } from "./system.ts";

/** A CSI driver in this process for the node `hst_take`, and clients on its socket. */
export interface RunningDriver extends AsyncDisposable {
  readonly controller: Client<typeof csi.Controller>;
  readonly node: Client<typeof csi.Node>;
}

/** An ext4 volume that one node mounts. */
export const mounted = create(csi.VolumeCapabilitySchema, {
  accessType: { case: "mount", value: { fsType: "ext4" } },
  accessMode: { mode: csi.VolumeCapability_AccessMode_Mode.SINGLE_NODE_WRITER },
});

export async function startDriverOf({ url, tokenFile }: System): Promise<RunningDriver> {
  const directory = await temporaryDirectory();
  const socket = join(directory.path, "csi.sock");
  const config = parseFlags([`--endpoint=unix://${socket}`, `--control-plane=${url}`, `--token-file=${tokenFile}`, "--node-id=hst_take"]);
  // As in startSystem: lines are made and not shown.
  const driver = await startDriver(config, createLogger("info", { write: () => undefined }));
  const transport = createGrpcTransport({ baseUrl: "http://localhost", nodeOptions: { createConnection: () => net.connect(socket) } });
  return {
    controller: createClient(csi.Controller, transport),
    node: createClient(csi.Node, transport),
    async [Symbol.asyncDispose]() {
      await driver.stop();
      await directory[Symbol.asyncDispose]();
    },
  };
}
