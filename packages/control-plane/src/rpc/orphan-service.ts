import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  DeleteOrphanResponseSchema,
  ListOrphansResponseSchema,
  OrphanKind,
  OrphanSchema,
  type Orphan,
  type OrphanService,
} from "@zfsilo/api";
import { invalidField } from "@zfsilo/lib";
import type { OrphanKind as KindWord } from "../reconcile/find-orphans.ts";
import type { Orphans, SeenOrphan } from "../reconcile/orphans.ts";
import type { HostStore } from "../store/stores.ts";
import { parseHostName } from "./field.ts";
import { pageOf, parsePage } from "./page.ts";
import { whileCalled } from "./while-called.ts";

export interface OrphanServiceDeps {
  readonly hosts: HostStore;
  readonly orphans: Pick<Orphans, "list" | "remove">;
}

const kinds = {
  dataset: OrphanKind.DATASET,
  snapshot: OrphanKind.SNAPSHOT,
  export: OrphanKind.EXPORT,
  acl: OrphanKind.ACL,
  session: OrphanKind.SESSION,
  node_record: OrphanKind.NODE_RECORD,
  mount: OrphanKind.MOUNT,
} as const satisfies Record<KindWord, OrphanKind>;

export function orphanService({ hosts, orphans }: OrphanServiceDeps): ServiceImpl<typeof OrphanService> {
  return {
    async listOrphans(request, { signal }) {
      const { host } = request;
      const asked = parsePage(request);
      const wanted = host === "" ? await hosts.all() : [await hosts.get(parseHostName(host, "host"))];
      const found = await orphans.list(wanted, signal);
      const { page, nextPageToken } = pageOf(OrphanSchema, found.orphans.map(orphanToMessage), keyOf, asked);
      return create(ListOrphansResponseSchema, {
        orphans: page,
        nextPageToken,
        unreachableHosts: found.unreachable.map((id) => `hosts/${id}`),
      });
    },

    async deleteOrphan({ host, kind, name, guid }, { signal }) {
      const hostId = parseHostName(host, "host");
      if (name === "") throw invalidField("name", "is required");
      if (guid === "") throw invalidField("guid", "is required", "Give the guid that ListOrphans shows: a name alone is no proof of what stands there.");
      const operation = await whileCalled(orphans.remove({ hostId, kind: parseKind(kind), name, guid }), signal);
      return create(DeleteOrphanResponseSchema, { operation: `operations/${operation}` });
    },
  };
}

function parseKind(kind: OrphanKind): KindWord {
  const found = (Object.keys(kinds) as KindWord[]).find((word) => kinds[word] === kind);
  if (found === undefined) throw invalidField("kind", "is required");
  return found;
}

/** By host, kind and name; the guid tells those of one name apart. */
function keyOf({ host, kind, name, guid }: Orphan): string {
  return [host, parseKind(kind), name, guid].join("\0");
}

function orphanToMessage({ hostId, kind, name, guid, since, description, inUse }: SeenOrphan): Orphan {
  return create(OrphanSchema, {
    host: `hosts/${hostId}`,
    kind: kinds[kind],
    name,
    guid,
    sinceTime: timestampFromDate(since),
    description: [description, inUse].filter((part) => part !== undefined && part !== "").join("; "),
  });
}
