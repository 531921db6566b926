// Adds up vitest's JSON reports and prints the one line that tells how many tests ran. A report that is missing counts as
// one failure: a suite that could not even start must not look like one that had nothing to do.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const [directory, ...names] = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };
for (const name of names) {
  const file = join(directory, `${name}.json`);
  if (!existsSync(file)) {
    console.log(`${name}: no report`);
    total.failed += 1;
    continue;
  }
  const report = JSON.parse(readFileSync(file, "utf8"));
  // A file that fails before its first test has no tests to count.
  const brokenFiles = report.testResults.filter((suite) => suite.status === "failed" && suite.assertionResults.length === 0);
  total.passed += report.numPassedTests;
  total.failed += report.numFailedTests + brokenFiles.length;
  total.skipped += report.numPendingTests + report.numTodoTests;
}
console.log(`tests: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
