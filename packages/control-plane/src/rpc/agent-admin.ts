import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { JoinTokenSchema, type CreateJoinTokenRequest, type JoinToken } from "@zfsilo/api";
import { invalidField, StorageError, type HostId } from "@zfsilo/lib";
import { randomBytes } from "node:crypto";
import { newJoinSecret, sha256 } from "../machines/agent/credential.ts";
import type { HostRecord, JoinTokenRecord } from "../store/model.ts";
import { parseHostName } from "./field.ts";
import { parseHostTemplate } from "./host-input.ts";

const defaultLifetimeSeconds = 3600;
const maxLifetimeSeconds = 315_360_000;
const maxUses = 1_000_000;
const maxStars = 8;

export interface NewJoinToken {
  readonly token: JoinTokenRecord;
  readonly secret: string;
}

/** Checks the request and makes the token it asks for. `findHost` throws when there is none. */
export async function newJoinToken(request: CreateJoinTokenRequest, findHost: (id: HostId) => Promise<HostRecord>): Promise<NewJoinToken> {
  const secret = newJoinSecret();
  const now = new Date();
  const common = {
    id: `jt_${randomBytes(10).toString("hex")}`,
    sha256: sha256(secret),
    uses: 0,
    createdAt: now,
    expiresAt: new Date(now.getTime() + lifetime(request) * 1000),
  };
  return { secret, token: { ...common, ...(request.host === "" ? forNodes(request) : await forHost(request, findHost)) } };
}

type Scope = Pick<JoinTokenRecord, "hostId" | "template" | "nodeNamePattern" | "replaceOffline" | "maxUses">;

async function forHost(request: CreateJoinTokenRequest, findHost: (id: HostId) => Promise<HostRecord>): Promise<Scope> {
  const id = parseHostName(request.host, "host");
  const onlyForNodes = "is only for tokens with a host_template";
  if (request.hostTemplate !== undefined) throw invalidField("host_template", "is set together with host", "Set one of them.");
  if (request.nodeNamePattern !== "") throw invalidField("node_name_pattern", onlyForNodes);
  if (request.replaceOffline) throw invalidField("replace_offline", onlyForNodes);
  if (request.maxUses !== 0 && request.maxUses !== 1) throw invalidField("max_uses", "is 1 for a token of one host");
  const host = await findHost(id);
  if (host.connection.kind !== "agent") {
    throw new StorageError("precondition", `${request.host} is reached by ${host.connection.kind}, not by an agent`, {
      details: { host: request.host },
      hint: "Set its connection to agent with UpdateHost first.",
    });
  }
  return { hostId: id, template: undefined, nodeNamePattern: "", replaceOffline: false, maxUses: 1 };
}

function forNodes(request: CreateJoinTokenRequest): Scope {
  if (request.hostTemplate === undefined) throw invalidField("host", "is required", "Set host, or host_template for hosts that are made by the join.");
  const nodeNamePattern = request.nodeNamePattern === "" ? "*" : request.nodeNamePattern;
  if (!/^[A-Za-z0-9._*-]{1,253}$/.test(nodeNamePattern)) {
    throw invalidField("node_name_pattern", "holds characters that no node name has", "`*` stands for any run of characters.");
  }
  if (nodeNamePattern.split("*").length - 1 > maxStars) throw invalidField("node_name_pattern", `has more than ${maxStars} stars`);
  if (request.maxUses < 0 || request.maxUses > maxUses) throw invalidField("max_uses", `is not between 0 and ${maxUses}`);
  const template = parseHostTemplate(request.hostTemplate);
  return { hostId: "", template, nodeNamePattern, replaceOffline: request.replaceOffline, maxUses: request.maxUses };
}

function lifetime({ lifetimeSeconds }: CreateJoinTokenRequest): number {
  if (lifetimeSeconds < 0 || lifetimeSeconds > maxLifetimeSeconds) {
    throw invalidField("lifetime_seconds", `is not between 1 and ${maxLifetimeSeconds}`);
  }
  return lifetimeSeconds === 0 ? defaultLifetimeSeconds : lifetimeSeconds;
}

export function joinTokenToMessage(token: JoinTokenRecord): JoinToken {
  return create(JoinTokenSchema, {
    name: `joinTokens/${token.id}`,
    host: token.hostId === "" ? "" : `hosts/${token.hostId}`,
    nodeNamePattern: token.nodeNamePattern,
    replaceOffline: token.replaceOffline,
    maxUses: token.maxUses,
    uses: token.uses,
    createTime: timestampFromDate(token.createdAt),
    expireTime: timestampFromDate(token.expiresAt),
  });
}

export function parseJoinTokenName(name: string): string {
  const id = /^joinTokens\/(jt_[0-9a-f]{20})$/.exec(name)?.[1];
  if (id === undefined) throw invalidField("name", `${JSON.stringify(name.slice(0, 80))} is no join token`, "Write joinTokens/ID.");
  return id;
}
