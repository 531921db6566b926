import { Code, ConnectError } from "@connectrpc/connect";
import { errorInfo } from "./error-map.ts";

/** Of messages in JSON. What the API takes is nested 6 deep and has some hundred elements. */
export const maxJsonDepth = 64;
export const maxJsonElements = 20_000;

const quote = 0x22;
const backslash = 0x5c;

const utf8 = new TextDecoder();

/**
 * The text of a JSON message, after one pass over its bytes has found it neither deep nor manifold: a short compressed body can
 * hold a million objects, and the parser would make them all before anybody could refuse. The parser calls this as its
 * `textDecoder`, the only place between inflating and parsing that is ours.
 */
export const boundedJson = {
  decode(data: Uint8Array): string {
    checkBounds(data);
    return utf8.decode(data);
  },
};

function checkBounds(data: Uint8Array): void {
  let depth = 0;
  let elements = 0;
  for (let at = 0; at < data.length; at += 1) {
    const byte = data[at] ?? 0;
    switch (byte) {
      case quote:
        at = endOfString(data, at);
        break;
      case 0x5b: // [
      case 0x7b: // {
        depth += 1;
        elements += 1;
        if (depth > maxJsonDepth) throw refused(`its JSON is nested more than ${maxJsonDepth} deep`);
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1;
        break;
      case 0x2c: // ,
        elements += 1;
        break;
      default:
    }
    if (elements > maxJsonElements) throw refused(`its JSON has more than ${maxJsonElements} elements`);
  }
}

/** Where the string that opens at `from` closes; the end of the data when it never does, which the parser then says. */
function endOfString(data: Uint8Array, from: number): number {
  let at = from + 1;
  while (at < data.length && data[at] !== quote) at += data[at] === backslash ? 2 : 1;
  return at;
}

function refused(problem: string): ConnectError {
  return new ConnectError(`the message is refused: ${problem}`, Code.ResourceExhausted, undefined, [errorInfo("MESSAGE_TOO_COMPLEX")]);
}
