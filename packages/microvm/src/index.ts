export { makeDiskImage } from "./disk-image.ts";
export { listInstances, removeInstance as takeDown } from "./instance.ts";
export type { ExecOptions, Machine } from "./machine.ts";
export { bringUp, findRunning, type BringUpOptions, type Machines } from "./pair.ts";
export { hostNqn, initiatorName, poolName, type RoleName } from "./roles.ts";
export { toolPackages, type ToolResult } from "./run-tool.ts";
export type { SshAddress } from "./ssh.ts";
export { openTunnel, type Tunnel, type TunnelOptions } from "./tunnel.ts";
