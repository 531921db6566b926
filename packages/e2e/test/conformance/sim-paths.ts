import type { SimWorld } from "@zfsilo/sim-host";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { script } from "./sanity.ts";

/** csi-sanity looks at target paths, which are those of a simulated machine: it asks there. */
export async function answerPaths(world: SimWorld, machine: string, directory: string): Promise<{ readonly check: string; stop(): void }> {
  const socket = join(directory, "paths.sock");
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? "/").slice(1));
    kindOf(world, machine, path).then(
      (kind) => response.end(kind),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(socket);
  await once(server, "listening");
  const check = await script(
    directory,
    "check-path",
    `exec curl -sS --fail --unix-socket '${socket}' "http://sim/$(printf %s "$1" | sed 's|/|%2F|g')"`,
  );
  return { check, stop: () => server.close() };
}

async function kindOf(world: SimWorld, machine: string, path: string): Promise<string> {
  const { signal } = new AbortController();
  const [found] = await world.executor(machine).files([{ op: "list", path, tolerate: ["ENOENT", "ENOTDIR"] }], { signal });
  if (found?.errno === "ENOENT") return "not_found";
  return found?.errno === "ENOTDIR" ? "file" : "directory";
}
