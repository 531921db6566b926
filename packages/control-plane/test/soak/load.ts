import { setTimeout as sleep } from "node:timers/promises";

type Json = Record<string, unknown>;

const host = "hosts/take";
/** Of the volumes, those that nobody ever deletes. */
const kept = 6;
const volumes = 12;

/** Callers that move volumes up and down the ladder, as clients of the API. */
export class Load {
  calls = 0;
  refused = 0;
  readonly #url: string;
  readonly #token: string;
  readonly #created = new Set<string>();

  constructor(url: string, token: string) {
    this.#url = url;
    this.#token = token;
  }

  async run(callers: number, until: () => boolean): Promise<void> {
    const caller = async (): Promise<void> => {
      while (until()) await this.#move(Math.floor(Math.random() * volumes));
    };
    await Promise.all(Array.from({ length: callers }, caller));
  }

  /** With nothing going wrong any more: every volume that must be there is, and is as recorded. */
  async lookForLost(): Promise<string[]> {
    const problems = await this.#deleteOthers();
    let differences: unknown[] = [];
    for (let round = 0; round < 20; round += 1) {
      const synced = await this.#call("SyncVolumes", {});
      differences = [synced.body];
      if (synced.status === 200 && !JSON.stringify(synced.body).includes("_LEFT")) {
        const { status, body } = await this.#call("SyncVolumes", { reportOnly: true });
        differences = (body["volumes"] as unknown[] | undefined) ?? [];
        if (status === 200 && differences.length === 0) break;
      }
      await sleep(500);
    }
    if (differences.length > 0) problems.push(`hosts differ from the record: ${JSON.stringify(differences).slice(0, 2_000)}`);
    for (const id of this.#created) {
      const { status } = await this.#call("GetVolume", { name: `volumes/${id}` });
      if (status !== 200) problems.push(`volumes/${id} is lost`);
    }
    return problems;
  }

  /** Also those whose delete failed half way: the same call made again ends it. */
  async #deleteOthers(): Promise<string[]> {
    const problems: string[] = [];
    for (let index = kept; index < volumes; index += 1) {
      const name = `volumes/vol_${index}`;
      for (let round = 0; ; round += 1) {
        await this.#call("DisconnectVolume", { name, host, force: true });
        await this.#call("UnpublishVolume", { name });
        const { status, body } = await this.#call("DeleteVolume", { name, allowMissing: true });
        if (status === 200) break;
        if (round === 20) {
          problems.push(`${name} cannot be deleted: ${JSON.stringify(body)}`);
          break;
        }
        await sleep(500);
      }
    }
    return problems;
  }

  async #move(index: number): Promise<void> {
    const id = `vol_${index}`;
    const name = `volumes/${id}`;
    const block = index % 2 === 1;
    const volume = {
      host: "hosts/give",
      capacityBytes: `${64 << 20}`,
      sparse: true,
      ...(block ? { mode: "VOLUME_MODE_BLOCK" } : { filesystem: { type: "ext4" } }),
    };
    const up: readonly (readonly [string, object])[] = [
      ["CreateVolume", { volumeId: id, volume }],
      ["PublishVolume", { name }],
      ["ConnectVolume", { name, host }],
      ["StageVolume", { name, host, stagingPath: `/mnt/${id}` }],
      ["MountVolume", { name, host, targetPath: `/srv/${id}` }],
    ];
    const down: readonly (readonly [string, object])[] = [
      ["UnmountVolume", { name, host, targetPath: `/srv/${id}` }],
      ["UnstageVolume", { name, host }],
      ["DisconnectVolume", { name, host, force: Math.random() < 0.1 }],
      ["UnpublishVolume", { name }],
      ...(index < kept ? [] : [["DeleteVolume", { name, allowMissing: true }] as const]),
    ];
    const way = Math.random() < 0.5 ? up : down;
    for (const [method, message] of way.slice(0, 1 + Math.floor(Math.random() * way.length))) {
      const { status } = await this.#call(method, message);
      if (status === 200 && method === "CreateVolume" && index < kept) this.#created.add(id);
    }
    await this.#call(Math.random() < 0.5 ? "ListVolumes" : "GetVolume", Math.random() < 0.5 ? {} : { name });
  }

  async #call(method: string, message: object): Promise<{ status: number; body: Json }> {
    this.calls += 1;
    const response = await fetch(`${this.#url}/zfsilo.v1.VolumeService/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${this.#token}`, connection: "close" },
      body: JSON.stringify(message),
    });
    const body = (await response.json()) as Json;
    if (response.status !== 200) this.refused += 1;
    return { status: response.status, body };
  }
}
