import { StorageError } from "@zfsilo/lib";
import { isIP } from "node:net";

export interface ListenAddress {
  readonly host: string;
  /** 0: the system chooses. */
  readonly port: number;
}

/** `127.0.0.1:8080`, `[::1]:0`, `localhost:8080`, or `:8080` for every address. */
export function parseListenAddress(text: string, source = "listen"): ListenAddress {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text.trim());
  const [, bracketed, plain, digits] = match ?? [];
  const port = Number(digits);
  const host = bracketed ?? plain ?? "";
  const hostIsRight = bracketed === undefined ? isIP(host) !== 6 && !/[\s/]/.test(host) : isIP(host) === 6;
  if (match === null || port > 65_535 || !hostIsRight) {
    throw new StorageError("invalid_argument", `${source}: "${text}" is not an address to listen on`, {
      hint: "Write ADDRESS:PORT, e.g. 127.0.0.1:8080 or [::1]:8080; port 0 lets the system choose.",
      details: { field: source },
    });
  }
  return { host: host === "" ? "::" : host, port };
}

/** For URLs and messages. */
export function formatListenAddress({ host, port }: ListenAddress): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}
