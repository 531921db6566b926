import type { Reason } from "@zfsilo/lib";
import { toolFailure, type StderrRule } from "../tool.ts";

/** What a table makes of one complaint. */
export function reasonFor(rules: readonly StderrRule[], exitCode: number, stderr: string): Reason {
  return toolFailure("give", "try", ["tool"], { exitCode, stdout: "", stderr }, rules).reason;
}

/** The rules that decide none of these complaints. */
export function unusedRules(
  rules: readonly StderrRule[],
  complaints: readonly (readonly [exitCode: number, stderr: string])[],
): readonly StderrRule[] {
  const deciding = complaints.map(([exitCode, stderr]) =>
    rules.find((rule) => (rule.exitCode ?? exitCode) === exitCode && rule.pattern.test(stderr)),
  );
  return rules.filter((rule) => !deciding.includes(rule));
}
