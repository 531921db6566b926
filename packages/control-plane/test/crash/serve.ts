import { createLogger } from "@zfsilo/lib";
import { readFile } from "node:fs/promises";
import { parseConfig } from "../../src/config.ts";
import { startControlPlane, type ControlPlane } from "../../src/control-plane.ts";
import { formatListenAddress } from "../../src/rpc/listen-address.ts";
import type { OperationStore } from "../../src/store/stores.ts";
import { journalWith } from "../world/journal.ts";
import type { Instant, Order, Reply } from "./child.ts";

/** A control plane in a process of its own that serves on one directory after another, and ends itself by SIGKILL when told to. */

function die(): Promise<never> {
  process.kill(process.pid, "SIGKILL");
  return new Promise(() => undefined);
}

/** The end of a step and the intent of the next are one write, so these are all the instants around every step. */
function mortal(journal: OperationStore, { when, write: nth }: Instant): OperationStore {
  let writes = 0;
  return journalWith(journal, async (_entry, write) => {
    writes += 1;
    if (writes !== nth) return write();
    if (when === "after") await write();
    return die();
  });
}

const file = { name: "crash test", text: JSON.stringify({ clusterId: "test", hosts: [], reconcile: { intervalSeconds: 0 } }) };
let plane: ControlPlane | undefined;

async function obey(order: Order): Promise<Reply> {
  if (order.do === "serve") {
    const { instant } = order;
    plane = await startControlPlane({
      config: parseConfig({ ZFSILO_DATA_DIR: order.directory, ZFSILO_LISTEN: "127.0.0.1:0" }, file),
      log: createLogger("silent"),
      secretKey: process.env["ZFSILO_SECRET_KEY"],
      sshAgentSocket: undefined,
      ...(instant && { aroundJournal: (journal) => mortal(journal, instant) }),
    });
    const token = (await readFile(plane.adminTokenFile, "utf8")).trim();
    return { url: `http://${formatListenAddress(plane.address)}`, token };
  }
  const calls = plane?.world.calls("hst_take").latest ?? [];
  await plane?.stop();
  return { formats: calls.filter((call) => "argv" in call && call.argv[0].startsWith("mkfs.")).length };
}

process.on("message", (order: Order) => {
  obey(order).then(
    (reply) => process.send?.(reply),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
// Whoever gives the orders is gone.
process.on("disconnect", () => process.exit());
