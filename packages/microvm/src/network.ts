import { createServer } from "node:net";

/** A loopback TCP port nobody listens on: `preferred` when it is free, else one the kernel picks. */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined) {
    const port = await tryPort(preferred);
    if (port !== undefined) return port;
  }
  const port = await tryPort(0);
  if (port === undefined) throw new Error("no free loopback port");
  return port;
}

/** Ports of one pair, all different. */
export async function freePorts(preferred: readonly (number | undefined)[]): Promise<readonly number[]> {
  const ports: number[] = [];
  for (const wish of preferred) {
    let port = await freePort(wish);
    while (ports.includes(port)) port = await freePort();
    ports.push(port);
  }
  return ports;
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => {
      resolve(undefined);
    });
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => {
      const address = server.address();
      const found = address !== null && typeof address === "object" ? address.port : undefined;
      server.close(() => {
        resolve(found);
      });
    });
  });
}
