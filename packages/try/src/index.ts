export * from "./context-json.ts";
export * from "./given-up.ts";
export * from "./journal.ts";
export * from "./runner.ts";
export * from "./workflow.ts";
