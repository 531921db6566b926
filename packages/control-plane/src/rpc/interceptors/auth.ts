import type { Interceptor } from "@connectrpc/connect";
import { AgentService, health, reflectionV1, reflectionV1alpha } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { callContext } from "../call-context.ts";
import type { Tokens } from "../tokens.ts";

/**
 * The first three tell nothing that is not in the public API description, and are what load balancers and grpcurl ask
 * first. Agents show join tokens and credentials of their own (agent-service.ts), which open nothing else.
 */
const open = new Set<string>([
  health.Health.typeName,
  reflectionV1.ServerReflection.typeName,
  reflectionV1alpha.ServerReflection.typeName,
  AgentService.typeName,
]);

/** Refuses calls without a token of ours. Never says whether one was missing, malformed or unknown. */
export function authInterceptor(tokens: Tokens): Interceptor {
  return (next) => (request) => {
    if (open.has(request.service.typeName)) return next(request);
    const caller = tokens.callerOf(request.header.get("authorization"));
    if (caller === undefined) {
      throw new StorageError("unauthenticated", "this call needs a valid token", {
        hint: "Send the header `authorization: Bearer TOKEN`; the token of a new installation is in admin.token of its data directory.",
      });
    }
    const call = request.contextValues.get(callContext);
    if (call !== undefined) request.contextValues.set(callContext, { ...call, caller });
    return next(request);
  };
}
