export { parseFlags, type CsiConfig } from "./config.ts";
export { startDriver, type Driver } from "./driver.ts";
export { parseMutableParameters, parseParameters, parseSnapshotParameters } from "./controller/parameters.ts";
