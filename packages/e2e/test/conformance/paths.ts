import type { CallOptions, Executor } from "@zfsilo/command";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { script } from "./sanity.ts";

const o: CallOptions = { signal: new AbortController().signal };

/** What csi-sanity is told of paths while this lives. */
export interface Paths extends Disposable {
  readonly flags: readonly string[];
}

/**
 * csi-sanity looks at staging and target paths, which are those of another machine: it asks there. Below a root that the initiator
 * allows; nothing is made or removed there but by the driver.
 */
export async function answerPaths(machine: Executor, directory: string): Promise<Paths> {
  const socket = join(directory, "paths.sock");
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? "/").slice(1));
    kindOf(machine, path).then(
      (kind) => response.end(kind),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(socket);
  await once(server, "listening");
  const ask = `exec curl -sS --fail --unix-socket '${socket}' "http://machine/$(printf %s "$1" | sed 's|/|%2F|g')"`;
  const check = await script(directory, "check-path", ask);
  const same = await script(directory, "same-path", 'printf %s "$1"');
  return {
    flags: [
      ...["-csi.mountdir", "/mnt", "-csi.createmountpathcmd", same, "-csi.removemountpathcmd", same],
      ...["-csi.stagingdir", "/mnt/staging", "-csi.createstagingpathcmd", same, "-csi.removestagingpathcmd", same],
      ...["-csi.checkpathcmd", check],
    ],
    [Symbol.dispose]() {
      server.close();
    },
  };
}

async function kindOf(machine: Executor, path: string): Promise<string> {
  const [found] = await machine.files([{ op: "list", path, tolerate: ["ENOENT", "ENOTDIR"] }], o);
  if (found?.errno === "ENOENT") return "not_found";
  return found?.errno === "ENOTDIR" ? "file" : "directory";
}
