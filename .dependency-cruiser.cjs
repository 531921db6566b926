/** Which package may import which (docs/architecture.md), and the order of layers inside the control plane. */
const allowed = {
  api: [],
  lib: [],
  try: ["lib"],
  command: ["lib", "api"],
  host: ["lib", "command"],
  "sim-host": ["lib", "command"],
  microvm: ["lib", "command"],
  "control-plane": ["api", "lib", "try", "command", "host", "sim-host"],
  agent: ["api", "lib", "command"],
  csi: ["api", "lib", "agent"],
  e2e: ["agent", "csi", "api", "lib", "command", "host", "sim-host", "microvm", "control-plane"],
  bench: ["agent", "csi", "api", "lib", "command", "host", "sim-host", "control-plane", "microvm"],
};

const packageRules = Object.entries(allowed).map(([name, others]) => ({
  name: `${name}-imports`,
  severity: "error",
  comment: `packages/${name} may import only ${others.join(", ") || "nothing of ours"}`,
  from: { path: `^packages/${name}/src/`, pathNot: "\\.test\\.ts$" },
  to: { path: "^packages/", pathNot: [`^packages/${name}/`, ...others.map((other) => `^packages/${other}/`)] },
}));

/** Inside the control plane each layer sees only those after it. */
const order = ["rpc", "volume", "reconcile", "workflow", "machines", "operation", "store"];
const layerRules = order.map((layer, index) => ({
  name: `control-plane-${layer}-layer`,
  severity: "error",
  comment: `${layer}/ must not import ${order.slice(0, index).join(", ")}: callers know what they call, not the other way round`,
  from: { path: `^packages/control-plane/src/${layer}/`, pathNot: "\\.test\\.ts$" },
  to: { path: [...order.slice(0, index).map((above) => `^packages/control-plane/src/${above}/`), "^packages/control-plane/src/main\\.ts$"] },
}));

module.exports = {
  forbidden: [
    ...packageRules,
    ...layerRules,
    { name: "no-circular", severity: "error", from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } } },
    {
      name: "connect-only-at-the-edge",
      severity: "error",
      comment: "What the transport is must stay a matter of the outermost files.",
      from: { path: "^packages/(?!control-plane/src/(rpc/|main\\.ts)|control-plane/test/|agent/|csi/|bench/|e2e/)" },
      to: { path: "node_modules/@connectrpc/" },
    },
    { name: "no-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(^|/)dist/" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["development", "import", "types", "node", "default"] },
  },
};
