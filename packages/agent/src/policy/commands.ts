import type { Argv } from "@zfsilo/command";
import { RefusalError } from "../refusal.ts";
import { assertNormal, type AllowedRoots } from "./paths.ts";
import { freeze, programs, type PathRule, type Rule } from "./programs.ts";
import { fits, operandsOf } from "./shape.ts";

/** Plain block devices and the names udev gives them. */
const device = /^\/dev\/(?:(?:sd|vd)[a-z]+\d*|zd\d+(?:p\d+)?|nvme\d+n\d+(?:p\d+)?|dm-\d+|loop\d+|(?:zvol|mapper|disk\/by-(?:path|id|uuid))\/[^\0]+)$/;

/** Which commands are allowed. Throws RefusalError for every other. */
export async function checkCommand(argv: Argv, roots: AllowedRoots, signal: AbortSignal): Promise<void> {
  const [program, ...args] = argv;
  if (program === "systemd-run") {
    const place = freeze.exec(args.join("\n"))?.groups?.["path"];
    if (place === undefined) throw new RefusalError("these arguments of systemd-run");
    await roots.assertBelow(place, signal);
    return;
  }
  const rules = Object.hasOwn(programs, program) ? programs[program] : undefined;
  if (rules === undefined) throw new RefusalError(`the program ${JSON.stringify(program.slice(0, 80))}`);
  const rule = rules.find((candidate) => fits(candidate, args));
  if (rule === undefined) throw new RefusalError(`these arguments of ${program}`);
  await checkPaths(rule, args, roots, signal);
}

async function checkPaths(rule: Rule, args: readonly string[], roots: AllowedRoots, signal: AbortSignal): Promise<void> {
  const operands = operandsOf(rule, args);
  for (const [index, pathRule] of Object.entries(rule.paths ?? {})) {
    const path = operands[Number(index)];
    if (path === undefined) continue;
    assertNormal(path);
    await checkPath(path, pathRule, roots, signal);
  }
}

async function checkPath(path: string, rule: PathRule, roots: AllowedRoots, signal: AbortSignal): Promise<void> {
  if (rule !== "below-roots" && device.test(path)) return;
  if (rule === "device") throw new RefusalError(`${path} is no block device that volumes have`);
  await roots.assertBelow(path, signal);
}
