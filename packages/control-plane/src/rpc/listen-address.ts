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

/** Whether only this machine can connect. */
export function isLoopback({ host }: ListenAddress): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/**
 * Tokens travel in headers and key material in messages. Whoever can read the network would have both, so plain text beyond
 * this machine is somebody's decision and never a default.
 */
export function refusePlaintext(listen: ListenAddress): StorageError {
  return new StorageError("precondition", `listen on ${formatListenAddress(listen)} in plain text`, {
    hint: "Set ZFSILO_TLS_CERT_FILE and ZFSILO_TLS_KEY_FILE, or listen on 127.0.0.1. ZFSILO_ALLOW_PLAINTEXT=1 allows it where something else encrypts.",
  });
}

/** For URLs and messages. */
export function formatListenAddress({ host, port }: ListenAddress): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}
