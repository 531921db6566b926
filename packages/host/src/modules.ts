import type { CallOptions, Executor } from "@zfsilo/command";
import { entriesOf } from "./file-results.ts";
import { Tool } from "./tool.ts";

const rules = [
  {
    pattern: /not found in directory/,
    reason: "precondition",
    hint: "Install the kernel's modules package that holds it, or boot a kernel that has it.",
  },
  { pattern: /Operation not permitted/, reason: "permission_denied" },
] as const;

/**
 * Loads the modules that do not show as loaded (a built-in one may not: modprobe then does nothing). One modprobe each:
 * further words would be module parameters. The caller checks for what the modules provide.
 */
export async function loadModules(executor: Executor, modules: readonly string[], o: CallOptions): Promise<void> {
  const [before] = await executor.files([{ op: "list", path: "/sys/module" }], o);
  const missing = modules.filter((name) => entriesOf(before)?.includes(name) !== true);
  if (missing.length === 0) return;
  const tool = new Tool(executor, rules);
  for (const name of missing) await tool.run(`load kernel module ${name}`, ["modprobe", name], o);
}
