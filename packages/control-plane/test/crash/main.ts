import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** `npm run test:crash`: the crash matrix alone, its cells counted in the last line. */
const directory = await mkdtemp(join(tmpdir(), "zfsilo-crash-"));
const report = join(directory, "report.json");
const argv = ["run", "--project", "integration", "crash-matrix", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
const child = spawn("vitest", argv, { stdio: "inherit" });
const [code] = (await once(child, "exit")) as [number | null];
interface Report {
  readonly testResults: readonly { readonly assertionResults: readonly { readonly title: string; readonly status: string }[] }[];
}
const { testResults } = JSON.parse(await readFile(report, "utf8")) as Report;
const cells = testResults.flatMap(({ assertionResults }) => assertionResults).filter(({ title }) => title.startsWith("killed "));
await rm(directory, { recursive: true });
const failed = cells.filter(({ status }) => status !== "passed").length;
console.log(`crash cells: ${cells.length}, failed: ${failed}`);
process.exitCode = cells.length === 0 || failed > 0 ? 1 : (code ?? 1);
