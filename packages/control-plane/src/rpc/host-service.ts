import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  CheckHostResponseSchema,
  CreateHostResponseSchema,
  CreateJoinTokenResponseSchema,
  DeleteHostResponseSchema,
  DeleteJoinTokenResponseSchema,
  GetHostResponseSchema,
  ListHostsResponseSchema,
  ListJoinTokensResponseSchema,
  RevokeAgentResponseSchema,
  RotateAgentCredentialResponseSchema,
  UpdateHostResponseSchema,
  type HostService,
} from "@zfsilo/api";
import { StorageError, type HostId } from "@zfsilo/lib";
import type { HostRecord, PoolRef } from "../store/model.ts";
import type { HostStore, JoinTokenStore, VolumeStore } from "../store/stores.ts";
import { joinTokenToMessage, newJoinToken, parseJoinTokenName } from "./agent-admin.ts";
import { hostCheckToMessage, hostToMessage } from "./convert/host.ts";
import { parseHostName } from "./field.ts";
import { parseCreateHost, parseUpdateHost } from "./host-input.ts";
import type { HostAgents, HostObserver, HostProbe } from "./ports.ts";
import { whileCalled } from "./while-called.ts";

export interface HostServiceDeps {
  readonly hosts: HostStore;
  readonly volumes: Pick<VolumeStore, "countOn" | "namesOn" | "commitments">;
  /** Forces a machine off every volume, at their targets. */
  readonly evict: (host: HostId) => Promise<void>;
  readonly probe: HostProbe;
  readonly observer?: HostObserver;
  readonly agents: HostAgents;
  readonly joinTokens: JoinTokenStore;
}

export function hostService({ hosts, volumes, evict, probe, observer, agents, joinTokens }: HostServiceDeps): ServiceImpl<typeof HostService> {
  const message = (host: HostRecord) => hostToMessage(host, agents.view(host.id));
  const get = (id: HostId): Promise<HostRecord> => hosts.get(id);
  return {
    async getHost({ name }) {
      const host = await hosts.get(parseHostName(name, "name"));
      return create(GetHostResponseSchema, { host: message(host) });
    },

    async listHosts(request) {
      const { items, nextPageToken } = await hosts.list(request);
      return create(ListHostsResponseSchema, { hosts: items.map(message), nextPageToken });
    },

    async createHost(request) {
      const host = parseCreateHost(request);
      await hosts.insert(host);
      return create(CreateHostResponseSchema, { host: message(host) });
    },

    async updateHost(request) {
      const update = parseUpdateHost(request);
      const { id } = update;
      const current = await hosts.get(id);
      // The change was checked against this record: it is applied to no other.
      const change = update.changeOf(current);
      if (change.pools !== undefined) await refuseUsedParents(volumes, current, change.pools);
      const host = await hosts.update(id, change, update.revision ?? current.revision);
      observer?.hostChanged(host);
      return create(UpdateHostResponseSchema, { host: message(host) });
    },

    async deleteHost({ name, force }, { signal }) {
      const id = parseHostName(name, "name");
      const host = await hosts.get(id);
      await refuseUsed(volumes, name, id, force);
      if (force) await whileCalled(evict(id), signal);
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

    async createJoinToken(request) {
      const { token, secret } = await newJoinToken(request, get);
      await joinTokens.insert(token);
      return create(CreateJoinTokenResponseSchema, { joinToken: joinTokenToMessage(token), secret });
    },

    async listJoinTokens(request) {
      const { items, nextPageToken } = await joinTokens.list(request);
      return create(ListJoinTokensResponseSchema, { joinTokens: items.map(joinTokenToMessage), nextPageToken });
    },

    async deleteJoinToken({ name }) {
      if (!(await joinTokens.remove(parseJoinTokenName(name)))) throw new StorageError("not_found", `${name} does not exist`);
      return create(DeleteJoinTokenResponseSchema);
    },

    async rotateAgentCredential({ name }, { signal }) {
      const host = await get(parseHostName(name, "name"));
      await agents.rotate(host.id, signal);
      return create(RotateAgentCredentialResponseSchema, { host: message(host) });
    },

    async revokeAgent({ name }) {
      const host = await get(parseHostName(name, "name"));
      await agents.revoke(host.id);
      return create(RevokeAgentResponseSchema, { host: message(host) });
    },
  };
}

/** A volume whose parent dataset is nobody's any more would not be looked for where it is. */
async function refuseUsedParents(
  volumes: Pick<VolumeStore, "commitments">,
  { id, pools }: HostRecord,
  changed: readonly PoolRef[],
): Promise<void> {
  const gone = pools.filter(({ parentDataset }) => !changed.some((pool) => pool.parentDataset === parentDataset));
  if (gone.length === 0) return;
  const used = (await volumes.commitments([])).find(({ hostId, parent }) => hostId === id && gone.some(({ parentDataset }) => parentDataset === parent));
  if (used === undefined) return;
  throw new StorageError("precondition", `host.pools: ${used.volumes} volumes live under ${used.parent} on hosts/${id}`, {
    hint: "Delete those volumes first, or leave the parent dataset in the list.",
    details: { field: "host.pools", host: `hosts/${id}`, reason: "PARENT_DATASET_IN_USE", volumes: String(used.volumes) },
  });
}

/** Force ends what the machine does with volumes that live elsewhere; where volumes live on it their data is at stake. */
async function refuseUsed(volumes: Pick<VolumeStore, "countOn" | "namesOn">, name: string, id: HostId, force: boolean): Promise<void> {
  const used = await volumes.countOn(id);
  if (used.volumes + (force ? 0 : used.attachments) === 0) return;
  const names = await volumes.namesOn(id, shownVolumes);
  const live = `${used.volumes} volumes live on it${listed(names.volumes, used.volumes)}`;
  throw new StorageError("precondition", `${name} is in use: ${live}, ${used.attachments} are attached to it${listed(names.attached, used.attachments)}`, {
    hint:
      used.volumes > 0
        ? "Delete the volumes that live on it, and disconnect those that are attached to it, first."
        : "Disconnect those volumes first. When the machine will never return, use force.",
    details: { host: name, reason: "HOST_IN_USE", volumes: String(used.volumes), attachments: String(used.attachments) },
  });
}

/** How many volumes an error names. */
const shownVolumes = 5;

function listed(ids: readonly string[], count: number): string {
  if (ids.length === 0) return "";
  return ` (${ids.map((id) => `volumes/${id}`).join(", ")}${count > ids.length ? ", …" : ""})`;
}
