import { createLogger, errorChain, runProgram, StorageError } from "@zfsilo/lib";
import { readFile } from "node:fs/promises";
import { parseConfig } from "./config.ts";
import { startControlPlane } from "./control-plane.ts";
import { formatListenAddress } from "./rpc/listen-address.ts";

/** After this the process ends whatever still runs; the journal tells the next start what that was. */
const stopLimitMs = 9_500;

/** The only place that reads the environment. */
runProgram("zfsilo", async () => {
  const { env } = process;
  const file = env["ZFSILO_CONFIG"];
  const read = async () => parseConfig(env, file === undefined || file === "" ? undefined : await readConfig(file));
  const config = await read();
  const log = createLogger(config.logLevel);
  const controlPlane = await startControlPlane({
    config,
    log,
    secretKey: env["ZFSILO_SECRET_KEY"],
    sshAgentSocket: env["SSH_AUTH_SOCK"],
    readTokens: async () => (await read()).tokens,
    onLeaseLost(error) {
      // At once: whatever still runs on hosts here, another process is in charge of by now.
      console.error(`zfsilo stops: ${errorChain(error)}`);
      process.exit(1);
    },
  });
  console.log(`zfsilo listening on ${config.tls === undefined ? "http" : "https"}://${formatListenAddress(controlPlane.address)}`);
  console.log(`admin token: ${controlPlane.adminTokenFile}`);
  const { simulatedHosts } = controlPlane;
  if (simulatedHosts.length > 0) console.log(`simulated machines, with no disk and no network behind them: ${simulatedHosts.join(", ")}`);
  return { log, stop: () => controlPlane.stop(), stopLimitMs };
});

async function readConfig(name: string): Promise<{ name: string; text: string }> {
  try {
    return { name, text: await readFile(name, "utf8") };
  } catch (error) {
    throw new StorageError("invalid_argument", `read the configuration file ${name}`, {
      cause: error,
      hint: "Correct ZFSILO_CONFIG, or unset it to start on the embedded default.",
    });
  }
}
