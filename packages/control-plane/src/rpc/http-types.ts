import type { connectNodeAdapter } from "@connectrpc/connect-node";

type Listener = ReturnType<typeof connectNodeAdapter>;
/** Of HTTP/1.1 and HTTP/2 alike. */
export type HttpRequest = Parameters<Listener>[0];
export type HttpResponse = Parameters<Listener>[1];
export type HttpHandler = (request: HttpRequest, response: HttpResponse) => void;

/** The two kinds of response share this signature, but not a type that has it. */
export function endWith(response: HttpResponse, text: string): void {
  if ("stream" in response) response.end(text);
  else response.end(text);
}

/** The path without its query. */
export function pathOf(request: HttpRequest): string {
  return request.url?.split("?", 1)[0] ?? "";
}
