import { fileURLToPath } from "node:url";

export const deployDirectory = fileURLToPath(new URL("../../../csi/deploy/", import.meta.url));
