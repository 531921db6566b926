import { freePort } from "@zfsilo/microvm";

const given = new Set<number>();

/** For programs that cannot choose one and tell. Never the same twice: its user may not listen on it yet. */
export async function unusedPort(): Promise<number> {
  let port = await freePort();
  while (given.has(port)) port = await freePort();
  given.add(port);
  return port;
}
