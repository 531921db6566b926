export { agentVersion, defaultAllowedRoots, startAgent, type AgentOptions, type RunningAgent } from "./agent.ts";
export { GuardedExecutor, type GuardOptions } from "./policy/guarded-executor.ts";
export { parseAgentConfig, type AgentConfig } from "./config.ts";
export type { Place } from "./place.ts";
export { serve, type Rotation, type ServeOptions } from "./serving.ts";
export { readTls, type TlsFiles } from "./tls-files.ts";
