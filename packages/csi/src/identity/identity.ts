import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { csi } from "@zfsilo/api";
import type { Logger } from "@zfsilo/lib";
import type { CsiConfig } from "../config.ts";
import type { ControlPlane } from "../control-plane.ts";
import type { ServerFeatures } from "../features.ts";

export const version = "0.1.0";

/** Far below the second or more that probes are given: a control plane that is slower counts as not ready. */
const probeLimitMs = 900;

const { PluginCapability_Service_Type: ServiceType, PluginCapability_VolumeExpansion_Type: Expansion } = csi;

export interface IdentityDeps {
  readonly config: Pick<CsiConfig, "driver-name">;
  readonly controlPlane: ControlPlane;
  readonly features: ServerFeatures;
  readonly log: Logger;
}

export function identity({ config, controlPlane, features, log }: IdentityDeps): ServiceImpl<typeof csi.Identity> {
  return {
    getPluginInfo() {
      return create(csi.GetPluginInfoResponseSchema, { name: config["driver-name"], vendorVersion: version });
    },

    /** What all instances together serve, whichever part of it this one does (CSI spec, "GetPluginCapabilities"). */
    async getPluginCapabilities(_request, { signal }) {
      const offered = await features.get(signal);
      return create(csi.GetPluginCapabilitiesResponseSchema, {
        capabilities: [
          service(ServiceType.CONTROLLER_SERVICE),
          expansion(Expansion.ONLINE),
          expansion(Expansion.OFFLINE),
          ...(offered.has("group-snapshots") ? [service(ServiceType.GROUP_CONTROLLER_SERVICE)] : []),
          ...(offered.has("changed-ranges") ? [service(ServiceType.SNAPSHOT_METADATA_SERVICE)] : []),
        ],
      });
    },

    /** For readiness. Liveness is HealthServer's: the sidecars wait for a driver that is not ready, but must not restart it. */
    async probe(_request, { signal }) {
      try {
        await controlPlane.server.getServerInfo({}, { signal, timeoutMs: probeLimitMs });
        return create(csi.ProbeResponseSchema, { ready: true });
      } catch (error) {
        log.debug({ err: error }, "the control plane does not answer");
        return create(csi.ProbeResponseSchema, { ready: false });
      }
    },
  };
}

function service(type: csi.PluginCapability_Service_Type): csi.PluginCapability {
  return create(csi.PluginCapabilitySchema, { type: { case: "service", value: { type } } });
}

function expansion(type: csi.PluginCapability_VolumeExpansion_Type): csi.PluginCapability {
  return create(csi.PluginCapabilitySchema, { type: { case: "volumeExpansion", value: { type } } });
}
