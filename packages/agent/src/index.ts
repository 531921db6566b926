export { serve, type Rotation, type ServeOptions } from "./serving.ts";
