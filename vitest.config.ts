import { defineConfig } from "vitest/config";

// The "development" condition makes @zfsilo/* resolve to src/, so that tests never run a stale build.
const conditions = ["development"];
const shared = { ssr: { resolve: { conditions } }, resolve: { conditions } };

export default defineConfig({
  test: {
    projects: [
      {
        ...shared,
        test: { name: "unit", include: ["packages/*/src/**/*.test.ts"], testTimeout: 60_000 },
      },
      {
        ...shared,
        test: {
          name: "integration",
          include: ["packages/*/test/integration/**/*.test.ts"],
          // Some start dozens of programs, each of which takes seconds on a machine with much else to do.
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        ...shared,
        test: {
          name: "sidecars",
          include: ["packages/*/test/sidecars/**/*.test.ts"],
          testTimeout: 180_000,
          // Kubernetes and the sidecars are built first, once.
          hookTimeout: 2_400_000,
        },
      },
      {
        ...shared,
        test: {
          name: "e2e",
          include: ["packages/*/test/e2e/**/*.test.ts"],
          // Emulated machines take their time; each limit is far above what was ever seen.
          testTimeout: 900_000,
          hookTimeout: 2_400_000,
          fileParallelism: false,
          maxWorkers: 1,
        },
      },
    ],
  },
});
