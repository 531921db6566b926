import { csi } from "@zfsilo/api";
import type { Logger } from "@zfsilo/lib";
import type { CsiConfig } from "./config.ts";
import { connectControlPlane } from "./control-plane.ts";
import { controller } from "./controller/controller.ts";
import { callInterceptor } from "./endpoint/calls.ts";
import { HealthServer } from "./endpoint/health-server.ts";
import { UnixServer } from "./endpoint/unix-server.ts";
import { ServerFeatures } from "./features.ts";
import { groupController } from "./group-controller/group-controller.ts";
import { identity } from "./identity/identity.ts";
import { node } from "./node/node.ts";
import { startThisNode } from "./node/this-node.ts";
import { snapshotMetadata } from "./snapshot-metadata/snapshot-metadata.ts";

export interface Driver {
  stop(): Promise<void>;
}

/** Puts the parts together and listens. */
export async function startDriver(config: CsiConfig, log: Logger): Promise<Driver> {
  const controlPlane = await connectControlPlane(config);
  const features = new ServerFeatures(controlPlane);
  const thisNode = startThisNode(config, controlPlane, log);
  const server = new UnixServer({
    log,
    interceptors: [callInterceptor(log)],
    routes(router) {
      router.service(csi.Identity, identity({ config, controlPlane, features, log }));
      if (config.mode !== "node") {
        router.service(csi.Controller, controller({ controlPlane, features, log }));
        router.service(csi.GroupController, groupController(controlPlane));
        router.service(csi.SnapshotMetadata, snapshotMetadata(controlPlane));
      }
      if (config.mode !== "controller") {
        router.service(csi.Node, node({ controlPlane, nodeId: thisNode.id, maxVolumes: config["max-volumes-per-node"] }));
      }
    },
  });
  await server.start(config.endpoint);
  const health = await startHealth(config);
  return {
    async stop() {
      await health?.stop();
      await server.stop(7_000);
      await thisNode.stop();
    },
  };
}

async function startHealth(config: CsiConfig): Promise<HealthServer | undefined> {
  if (config["health-address"] === undefined) return undefined;
  const health = new HealthServer(config.endpoint);
  await health.start(config["health-address"]);
  return health;
}
