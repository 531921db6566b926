import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { EnrolResponseSchema, ServeResponseSchema, type AgentHello, type AgentService, type EnrolRequest, type ServeRequest } from "@zfsilo/api";
import { StorageError, type HostId, type Logger } from "@zfsilo/lib";
import type { AgentHub } from "../machines/agent/agent-hub.ts";
import { AgentLink } from "../machines/agent/agent-link.ts";
import { arrivalKey } from "./arrival.ts";
import type { AgentAdmission } from "./ports.ts";

export interface AgentServiceDeps {
  readonly hub: AgentHub;
  readonly admission: AgentAdmission;
  readonly log: Logger;
  /** Default 10 s. */
  readonly heartbeatMs?: number;
}

const defaultHeartbeatMs = 10_000;
/** Heartbeats that may be missing before the stream counts as dead. */
const missedHeartbeats = 3;

/** Streams of agents. Who may open one is a matter of the agent's credential alone; API tokens open none. */
export function agentService(deps: AgentServiceDeps & { readonly stopping: AbortSignal }): ServiceImpl<typeof AgentService> {
  return {
    async enrol(request: EnrolRequest, context) {
      const host = await admitted(context, deps.admission.enrol(request));
      return create(EnrolResponseSchema, { host: `hosts/${host}` });
    },

    async *serve(requests, context) {
      const host = await admitted(context, deps.admission.admit(context.requestHeader.get("authorization")));
      const incoming = requests[Symbol.asyncIterator]();
      const hello = await firstMessage(incoming);
      if (hello.host !== `hosts/${host}`) throw mismatch(deps.admission, host, plain(hello.host));
      const link = new AgentLink(identityOf(hello));
      const silence = watchSilence(link, deps.heartbeatMs ?? defaultHeartbeatMs);
      void readAll(incoming, link, (message) => deps.admission.received(host, link, message));
      const stop = closeWith(link, context, deps.stopping);
      try {
        await deps.hub.attach(host, link, context.signal);
        yield create(ServeResponseSchema, {
          message: { case: "welcome", value: { heartbeatIntervalSeconds: Math.ceil((deps.heartbeatMs ?? defaultHeartbeatMs) / 1000) } },
        });
        yield* link.outgoing;
        throw await link.closed;
      } finally {
        clearInterval(silence);
        stop();
        link.close(new StorageError("unavailable", "the stream of the agent has ended"));
      }
    },
  };
}

/** Tells the port what came of a login: its connection keeps its place, or is slowed down. */
async function admitted(context: HandlerContext, login: Promise<HostId>): Promise<HostId> {
  const port = context.values.get(arrivalKey)?.login;
  try {
    const host = await login;
    port?.succeeded();
    return host;
  } catch (error) {
    if (error instanceof StorageError && error.reason === "unauthenticated") await port?.failed();
    throw error;
  }
}

async function firstMessage(incoming: AsyncIterator<ServeRequest>): Promise<AgentHello> {
  const { value } = (await incoming.next()) as IteratorResult<ServeRequest, undefined>;
  if (value?.message.case === "hello") return value.message.value;
  throw new StorageError("invalid_argument", "the first message of an agent's stream must be its hello");
}

function mismatch(admission: AgentAdmission, host: HostId, said: string): StorageError {
  admission.mismatched(host, said);
  return new StorageError("permission_denied", `the agent says it serves ${JSON.stringify(said)}, but its credential is that of another host`, {
    details: { reason: "AGENT_IDENTITY_MISMATCH" },
    hint: "Its credential file came from another machine: remove the file, and enrol the agent with a join token of its own.",
  });
}

function identityOf({ version, instance, nodeName, runsSequences }: AgentHello) {
  if (!/^[\x21-\x7e]{16,64}$/.test(instance)) throw new StorageError("invalid_argument", "hello.instance: is not 16 to 64 plain characters");
  return { version: plain(version), instance, nodeName: plain(nodeName), runsSequences };
}

/** For logs and answers: an agent may say anything. */
function plain(text: string): string {
  return text.slice(0, 253).replaceAll(/[^\x20-\x7e]/g, "?");
}

/** Until the agent ends its side, or the stream breaks. */
async function readAll(incoming: AsyncIterator<ServeRequest>, link: AgentLink, received: (message: ServeRequest) => Promise<void>): Promise<void> {
  try {
    for (;;) {
      const next = await incoming.next();
      if (next.done === true) throw new StorageError("unavailable", "the agent ended its stream");
      link.receive(next.value);
      await received(next.value);
    }
  } catch (error) {
    link.close(error instanceof StorageError ? error : new StorageError("unavailable", "the stream of the agent broke", { cause: error }));
  }
}

function watchSilence(link: AgentLink, heartbeatMs: number): NodeJS.Timeout {
  const limitMs = heartbeatMs * missedHeartbeats;
  const timer = setInterval(() => {
    if (link.silentMs > limitMs) link.close(new StorageError("unavailable", `the agent was silent for ${limitMs} ms`));
  }, heartbeatMs);
  timer.unref();
  return timer;
}

function closeWith(link: AgentLink, context: HandlerContext, stopping: AbortSignal): () => void {
  const onStop = (): void => {
    link.close(new StorageError("unavailable", "the control plane is stopping"));
  };
  const onLost = (): void => {
    link.close(new StorageError("unavailable", "the stream of the agent was lost"));
  };
  stopping.addEventListener("abort", onStop, { once: true });
  context.signal.addEventListener("abort", onLost, { once: true });
  if (stopping.aborted) onStop();
  if (context.signal.aborted) onLost();
  return () => {
    stopping.removeEventListener("abort", onStop);
    context.signal.removeEventListener("abort", onLost);
  };
}
