import type { ServiceImpl } from "@connectrpc/connect";
import { health } from "@zfsilo/api";
import { StorageError } from "@zfsilo/lib";
import { changes } from "./changes.ts";
import type { Readiness } from "./readiness.ts";

const { ServingStatus } = { ServingStatus: health.HealthCheckResponse_ServingStatus };

/** grpc.health.v1. `services` are the full names that can be asked about; the empty name is the whole server. */
export function healthService(
  readiness: Readiness,
  services: ReadonlySet<string>,
  stopping: AbortSignal,
): ServiceImpl<typeof health.Health> {
  const status = (): health.HealthCheckResponse_ServingStatus =>
    readiness.ready ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  const known = (service: string): boolean => service === "" || services.has(service);

  return {
    check({ service }) {
      if (!known(service)) throw new StorageError("not_found", `there is no service ${JSON.stringify(service.slice(0, 200))}`);
      return { status: status() };
    },

    async *watch({ service }, { signal }) {
      if (!known(service)) {
        // The stream stays open: the protocol has the service appear later, which ours never does.
        yield { status: ServingStatus.SERVICE_UNKNOWN };
        await aborted(AbortSignal.any([signal, stopping]));
        return;
      }
      let told: health.HealthCheckResponse_ServingStatus | undefined;
      for await (const _change of changes((changed) => readiness.subscribe(changed), [signal, stopping])) {
        const now = status();
        if (now !== told) yield { status: now };
        told = now;
      }
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => { resolve(); }, { once: true });
  });
}
