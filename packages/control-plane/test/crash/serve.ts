import { createLogger } from "@zfsilo/lib";
import { readFile } from "node:fs/promises";
import { parseConfig } from "../../src/config.ts";
import { startControlPlane } from "../../src/control-plane.ts";
import { formatListenAddress } from "../../src/rpc/listen-address.ts";
import { journalWith } from "../world/journal.ts";

/**
 * A control plane that ends itself by SIGKILL: `serve.ts DIRECTORY before|after N` dies before or after the N-th write of its
 * journal. The end of a step and the intent of the next are one write, so these are all the instants around every step.
 */
const [directory = "", when = "", nth = ""] = process.argv.slice(2);
let writes = 0;

function die(): Promise<never> {
  process.kill(process.pid, "SIGKILL");
  return new Promise(() => undefined);
}

const file = { name: "crash test", text: JSON.stringify({ clusterId: "test", hosts: [], reconcile: { intervalSeconds: 0 } }) };
const controlPlane = await startControlPlane({
  config: parseConfig({ ZFSILO_DATA_DIR: directory, ZFSILO_LISTEN: "127.0.0.1:0" }, file),
  log: createLogger("silent"),
  secretKey: process.env["ZFSILO_SECRET_KEY"],
  sshAgentSocket: undefined,
  aroundJournal: (journal) =>
    journalWith(journal, async (_entry, write) => {
      writes += 1;
      if (writes !== Number(nth)) return write();
      if (when === "after") await write();
      return die();
    }),
});
const token = (await readFile(controlPlane.adminTokenFile, "utf8")).trim();
console.log(JSON.stringify({ url: `http://${formatListenAddress(controlPlane.address)}`, token }));
