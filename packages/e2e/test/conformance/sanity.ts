import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { csiSanity } from "../../src/deploy/tools.ts";

/** How one spec ended. */
export interface SpecResult {
  readonly name: string;
  readonly state: "passed" | "failed" | "skipped" | "pending";
  /** Why it was skipped, or how it failed. */
  readonly message: string;
}

interface GinkgoReport {
  readonly SpecReports: readonly {
    readonly ContainerHierarchyTexts: readonly string[] | null;
    readonly LeafNodeType: string;
    readonly LeafNodeText: string;
    readonly State: string;
    readonly Failure?: { readonly Message: string };
  }[];
}

/**
 * Runs all specs in random order. `directory` holds the report; the output is shown when something fails, and as it comes when
 * ZFSILO_TEST_LOG is set.
 */
export async function runSanity(directory: string, flags: readonly string[]): Promise<SpecResult[]> {
  const report = join(directory, "ginkgo.json");
  const argv = ["--ginkgo.randomize-all", "--ginkgo.no-color", `--ginkgo.json-report=${report}`, ...flags];
  const isWatched = process.env["ZFSILO_TEST_LOG"] !== undefined;
  const child = spawn(await csiSanity(), isWatched ? ["--ginkgo.v", ...argv] : argv, { stdio: ["ignore", "pipe", "pipe"] });
  if (isWatched) child.stdout.pipe(process.stderr);
  const output: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => output.push(chunk));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) console.log(Buffer.concat(output).toString());
  const [suite] = JSON.parse(await readFile(report, "utf8")) as [GinkgoReport];
  const results = suite.SpecReports.filter(({ LeafNodeType }) => LeafNodeType === "It").map((spec) => ({
    name: [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(" "),
    state: stateOf(spec.State),
    message: spec.Failure?.Message ?? "",
  }));
  if (code !== 0 && results.every(({ state }) => state !== "failed")) {
    throw new Error(`csi-sanity ended with ${code} and no failed spec`);
  }
  return results;
}

function stateOf(state: string): SpecResult["state"] {
  // Ginkgo has more words for a failure: timedout, aborted, panicked, interrupted.
  return state === "passed" || state === "skipped" || state === "pending" ? state : "failed";
}

/** A script that csi-sanity calls with a path; what it prints is the answer. */
export async function script(directory: string, name: string, body: string): Promise<string> {
  const file = join(directory, name);
  await writeFile(file, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  return file;
}
