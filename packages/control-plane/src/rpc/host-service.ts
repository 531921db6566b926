import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  CheckHostResponseSchema,
  CreateHostResponseSchema,
  DeleteHostResponseSchema,
  GetHostResponseSchema,
  ListHostsResponseSchema,
  UpdateHostResponseSchema,
  type HostService,
} from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import type { HostStore, VolumeStore } from "../store/stores.ts";
import { hostCheckToMessage, hostToMessage } from "./convert/host.ts";
import { parseHostName } from "./field.ts";
import { parseCreateHost, parseUpdateHost } from "./host-input.ts";
import type { HostObserver, HostProbe } from "./ports.ts";

export interface HostServiceDeps {
  readonly hosts: HostStore;
  readonly volumes: Pick<VolumeStore, "countOn">;
  readonly probe: HostProbe;
  readonly observer?: HostObserver;
}

export function hostService({ hosts, volumes, probe, observer }: HostServiceDeps): ServiceImpl<typeof HostService> {
  return {
    async getHost({ name }) {
      const host = await hosts.get(parseHostName(name, "name"));
      return create(GetHostResponseSchema, { host: hostToMessage(host) });
    },

    async listHosts(request) {
      const { items, nextPageToken } = await hosts.list(request);
      return create(ListHostsResponseSchema, { hosts: items.map(hostToMessage), nextPageToken });
    },

    async createHost(request) {
      const host = parseCreateHost(request);
      await hosts.insert(host);
      return create(CreateHostResponseSchema, { host: hostToMessage(host) });
    },

    async updateHost(request) {
      const update = parseUpdateHost(request);
      const { id } = update;
      const current = await hosts.get(id);
      // The change was checked against this record: it is applied to no other.
      const host = await hosts.update(id, update.changeOf(current), update.revision ?? current.revision);
      observer?.hostChanged(host);
      return create(UpdateHostResponseSchema, { host: hostToMessage(host) });
    },

    async deleteHost({ name }) {
      const id = parseHostName(name, "name");
      const host = await hosts.get(id);
      const used = await volumes.countOn(id);
      if (used.volumes + used.attachments > 0) throw inUse(name, used);
      await hosts.remove(id);
      observer?.hostRemoved(host);
      return create(DeleteHostResponseSchema);
    },

    async checkHost({ name }, { signal }) {
      const checks = await probe.check(await hosts.get(parseHostName(name, "name")), signal);
      return create(CheckHostResponseSchema, {
        checks: checks.map(hostCheckToMessage),
        ready: checks.every(({ state }) => state !== "failed"),
      });
    },
  };
}

function inUse(name: string, used: { readonly volumes: number; readonly attachments: number }): StorageError {
  return new StorageError("precondition", `${name} is in use: ${used.volumes} volumes live on it, ${used.attachments} are attached to it`, {
    hint: "Delete those volumes, or disconnect them, first.",
    details: { host: name, reason: "HOST_IN_USE", volumes: String(used.volumes), attachments: String(used.attachments) },
  });
}
