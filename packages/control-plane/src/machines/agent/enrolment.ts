import type { EnrolRequest } from "@zfsilo/api";
import { invalidField, StorageError, type HostId, type Logger } from "@zfsilo/lib";
import { checkHostSpec } from "../../host/host-spec.ts";
import { hostIdOfNode, nodeNameMatches } from "../../host/node-host.ts";
import type { HostRecord, HostTemplate, JoinTokenRecord } from "../../store/model.ts";
import type { HostStore, JoinTokenStore } from "../../store/stores.ts";
import type { AgentRegistry } from "./agent-registry.ts";
import { isCredentialHash, sha256 } from "./credential.ts";

export interface EnrolmentDeps {
  readonly hosts: HostStore;
  readonly joinTokens: JoinTokenStore;
  readonly registry: AgentRegistry;
  readonly log: Logger;
}

/**
 * Exchanges a join token for a place in the registry. Repeating it with the same credential is harmless, also after the
 * token's last use: the answer of the first time may have been lost.
 */
export async function enrol(deps: EnrolmentDeps, request: EnrolRequest): Promise<HostId> {
  const { credentialSha256: credential, nodeName } = request;
  if (!isCredentialHash(credential)) throw invalidField("credential_sha256", "is not 64 lower-case hex digits");
  if (!/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/.test(nodeName)) throw invalidField("node_name", "is no host name");
  const token = await deps.joinTokens.findByHash(sha256(request.joinToken));
  if (token === undefined) throw refused(deps.log, nodeName, "it is not known");
  const id = token.hostId === "" ? hostIdOfNode(nodeName) : token.hostId;
  // Two that come for one host at once must not both find it free.
  using _turn = await deps.registry.enrolments.acquire(id);
  const agent = deps.registry.view(id);
  if (agent?.record.credential === credential && agent.record.revokedAt === undefined) return id;
  if (token.expiresAt <= new Date()) throw refused(deps.log, nodeName, "it has expired");
  if (token.maxUses !== 0 && token.uses >= token.maxUses) throw refused(deps.log, nodeName, "it was used up");
  if (token.hostId === "") refuseStranger(deps, token, id, nodeName);
  const host = await deps.hosts.find(id);
  if (host === undefined && token.template === undefined) throw new StorageError("not_found", `hosts/${id} does not exist any more`, { details: { host: `hosts/${id}` } });
  if (host !== undefined) refuseHost(deps.log, token, host, nodeName);
  // Before a host is made, so that one token makes no more hosts than it may.
  if (!(await deps.joinTokens.claim(token.id, new Date()))) throw refused(deps.log, nodeName, "it was used up meanwhile");
  if (host === undefined && token.template !== undefined) await deps.hosts.insert(newHost(id, token.template, request.allowedRoots));
  await deps.registry.enrol(id, credential, nodeName);
  return id;
}

/** A token for any node must not take a host from the one that has it. */
function refuseStranger({ registry, log }: EnrolmentDeps, token: JoinTokenRecord, id: HostId, nodeName: string): void {
  if (!nodeNameMatches(token.nodeNamePattern, nodeName)) throw refused(log, nodeName, "it is for nodes with other names");
  const agent = registry.view(id);
  if (agent === undefined) return;
  const details = { host: `hosts/${id}` };
  const hint = `Make a join token for hosts/${id} by name and enrol with that.`;
  if (agent.record.revokedAt !== undefined) {
    log.warn({ host: id, nodeName }, "a node whose agent was revoked tried to enrol again");
    throw new StorageError("precondition", `the agent of hosts/${id} was revoked`, { details: { ...details, reason: "AGENT_REVOKED" }, hint });
  }
  if (token.replaceOffline && agent.link === undefined) return;
  log.warn({ host: id, nodeName }, "a node tried to enrol as a host that has an agent");
  throw new StorageError("precondition", `hosts/${id} has an agent already`, { details: { ...details, reason: "AGENT_EXISTS" }, hint });
}

/**
 * A host that is there already is taken with a token that names it, or, where a token for nodes made it, with another of the same
 * kind and for no fewer roles: whoever may add nodes to a cluster must not come by its storage hosts.
 */
function refuseHost(log: Logger, token: JoinTokenRecord, host: HostRecord, nodeName: string): void {
  const name = `hosts/${host.id}`;
  if (host.connection.kind !== "agent") {
    throw new StorageError("precondition", `${name} is reached by ${host.connection.kind}, not by an agent`, {
      details: { host: name },
      hint: "Set its connection to agent with UpdateHost first.",
    });
  }
  if (token.template === undefined) return;
  const { roles } = token.template;
  const beyond = host.roles.filter((role) => !roles.includes(role));
  if (host.fromTemplate === true && beyond.length === 0) return;
  const why = host.fromTemplate === true ? `it has the role ${beyond.join(" and ")}, which the token's template has not` : "it was not made by such a token";
  log.warn({ host: host.id, nodeName, why }, "a node tried to enrol as a host that its token is not for");
  throw new StorageError("precondition", `${name} cannot be taken with a join token for nodes: ${why}`, {
    details: { host: name, reason: "HOST_NOT_OF_TEMPLATE" },
    hint: `Make a join token for ${name} by name and enrol with that.`,
  });
}

function newHost(id: HostId, template: HostTemplate, offeredRoots: readonly string[]): HostRecord {
  const isInitiator = template.roles.includes("initiator");
  const allowedRoots = template.allowedRoots.length > 0 || !isInitiator ? template.allowedRoots : offeredRoots;
  const spec = checkHostSpec({ ...template, allowedRoots, connection: { kind: "agent" } }, (field) => `host_template.${field}`);
  const now = new Date();
  return { id, ...spec, fromTemplate: true, condition: undefined, revision: 1, createdAt: now, updatedAt: now };
}

/** The caller is told nothing that helps to guess; the operator is. */
function refused(log: Logger, nodeName: string, why: string): StorageError {
  log.warn({ nodeName }, `a join token was refused: ${why}`);
  return new StorageError("unauthenticated", "the join token is not valid", {
    hint: "Make another with CreateJoinToken. The control plane's log tells why this one was refused.",
  });
}
