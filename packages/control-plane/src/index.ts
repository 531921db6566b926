export { startControlPlane, type ControlPlane, type ControlPlaneOptions } from "./control-plane.ts";
export { parseConfig, type Config } from "./config.ts";
export { openDatabase, type Database } from "./store/database.ts";
