import { invalidField } from "@zfsilo/lib";
import { createHmac, timingSafeEqual } from "node:crypto";

const macBytes = 16;
const maxLength = 2048;

/** What a page is a page of. A token of one query is refused by another. */
export interface TokenScope {
  readonly kind: string;
  readonly filter: string;
  readonly order: string;
}

/** Where the page before ended: the order's value of its last row, and that row's id. */
export interface Position {
  readonly value: string;
  readonly id: string;
}

/** Page tokens are the last row's keys with a MAC over them and the query, so that only our own are ever used. */
export class PageTokens {
  readonly #key: Buffer;

  constructor(key: Buffer) {
    this.#key = key;
  }

  encode(scope: TokenScope, { value, id }: Position): string {
    const body = Buffer.from(JSON.stringify([value, id]));
    return Buffer.concat([this.#mac(scope, body), body]).toString("base64url");
  }

  decode(scope: TokenScope, token: string): Position {
    const bytes = token.length > maxLength ? Buffer.alloc(0) : Buffer.from(token, "base64url");
    const mac = bytes.subarray(0, macBytes);
    const body = bytes.subarray(macBytes);
    // base64url decoding skips what it does not know: only the exact text that we gave out is taken back.
    const exact = bytes.toString("base64url") === token;
    if (!exact || mac.length !== macBytes || !timingSafeEqual(mac, this.#mac(scope, body))) {
      throw invalidField(
        "page_token",
        "is not a token of this list with this filter and order_by",
        "Send next_page_token of the page before unchanged, with the same filter and order_by; leave it empty to start over.",
      );
    }
    const [value, id] = JSON.parse(body.toString()) as [string, string];
    return { value, id };
  }

  #mac(scope: TokenScope, body: Buffer): Buffer {
    const head = JSON.stringify([scope.kind, scope.filter, scope.order]);
    return createHmac("sha256", this.#key).update(head).update("\0").update(body).digest().subarray(0, macBytes);
  }
}
