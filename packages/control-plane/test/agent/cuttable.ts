import { once } from "node:events";
import net, { type AddressInfo, type Socket } from "node:net";

/** A cable between an agent and the control plane, to be pulled. */
export interface Cable extends AsyncDisposable {
  readonly port: number;
  /** Breaks every connection; new ones are made. */
  cut(): void;
  /** Carries nothing any more and says nothing of it, as a switch that lost its power. */
  freeze(): void;
  thaw(): void;
}

export async function cable(to: () => number): Promise<Cable> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let frozen = false;
  const server = net.createServer((near) => {
    const far = net.connect(to(), "127.0.0.1");
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [from, other] of [[near, far], [far, near]] as const) {
      from.setNoDelay(true);
      from.on("data", (chunk) => { if (!frozen) other.write(chunk); });
      from.on("error", () => undefined);
      from.on("close", () => {
        pairs.delete(pair);
        if (!frozen) other.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = (): void => {
    for (const [near, far] of pairs) {
      near.destroy();
      far.destroy();
    }
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    freeze: () => { frozen = true; },
    thaw: () => {
      frozen = false;
      cut();
    },
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      await once(server, "close");
    },
  };
}
