import { endWith, pathOf, type HttpHandler, type HttpResponse } from "./http-types.ts";
import type { Readiness } from "./readiness.ts";

export interface HttpRoutes {
  readonly readiness: Pick<Readiness, "ready" | "describe">;
  /** The text of /metrics and its content type. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

/** What probes and Prometheus ask over plain HTTP. Open to all: it names no volume and holds no secret. */
export function httpRoutes({ readiness, metrics }: HttpRoutes): HttpHandler {
  return (request, response) => {
    const path = pathOf(request);
    if (!["/healthz", "/readyz", "/metrics"].includes(path)) {
      send(response, 404, "there is nothing here; see the API description\n");
    } else if (request.method !== "GET" && request.method !== "HEAD") {
      send(response, 405, "only GET\n", { allow: "GET, HEAD" });
    } else if (path === "/metrics") {
      void metrics().then(
        ({ contentType, text }) => {
          send(response, 200, text, { "content-type": contentType });
        },
        () => {
          send(response, 500, "metrics could not be collected\n");
        },
      );
    } else if (path === "/healthz") {
      send(response, 200, "ok\n");
    } else {
      void readiness.describe().then((text) => {
        send(response, readiness.ready ? 200 : 503, text);
      });
    }
  };
}

function send(response: HttpResponse, status: number, text: string, headers: Readonly<Record<string, string>> = {}): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  endWith(response, text);
}
