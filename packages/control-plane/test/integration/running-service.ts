import { createLogger } from "@zfsilo/lib";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/config.ts";
import { startControlPlane, type ControlPlane } from "../../src/control-plane.ts";
import { formatListenAddress } from "../../src/rpc/listen-address.ts";

export type Json = Record<string, unknown>;

/** The whole control plane in this process, on simulated hosts: give, take and other. */
export interface RunningService extends AsyncDisposable {
  readonly plane: ControlPlane;
  readonly dataDir: string;
  /** Answers the message, or throws `CODE: message`. */
  call(method: string, message: object): Promise<Json>;
  /** An HTTP GET. */
  get(path: string): Promise<{ readonly status: number; readonly text: string }>;
  /** A volume taken up the ladder as far as `rung`, mounted at /mnt/ID and /srv/ID. Answers its handle. */
  volume(id: string, rung: Rung, fields?: object): Promise<string>;
  /** `between` runs while it is stopped. */
  restart(between?: () => Promise<void>): Promise<void>;
}

export const rungs = ["initial", "published", "connected", "staged", "mounted"] as const;
export type Rung = (typeof rungs)[number];

export const hosts = [
  { id: "give", roles: ["target"], simulated: {}, pools: [{ name: "tank" }], portals: [{ address: "192.0.2.1" }] },
  { id: "take", roles: ["initiator"], simulated: {} },
  { id: "other", roles: ["initiator"], simulated: {} },
];

export async function runningService(settings: object = {}): Promise<RunningService> {
  const dataDir = await mkdtemp(join(tmpdir(), "zfsilo-service-"));
  const text = JSON.stringify({ hosts, reconcile: { intervalSeconds: 0 }, ...settings });
  const config = parseConfig({ ZFSILO_DATA_DIR: dataDir, ZFSILO_LISTEN: "127.0.0.1:0" }, { name: "test.json", text });
  const log = createLogger("silent");
  const start = (): Promise<ControlPlane> => startControlPlane({ config, log, secretKey: undefined, sshAgentSocket: undefined });
  let plane = await start();
  const token = (await readFile(plane.adminTokenFile, "utf8")).trim();
  const url = (): string => `http://${formatListenAddress(plane.address)}`;

  const call = async (method: string, message: object): Promise<Json> => {
    const response = await fetch(`${url()}/zfsilo.v1.${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(message),
    });
    const body = (await response.json()) as Json;
    if (response.status !== 200) throw new Error(`${String(body["code"])}: ${String(body["message"])}`);
    return body;
  };

  return {
    get plane() {
      return plane;
    },
    dataDir,
    call,
    async get(path) {
      const response = await fetch(`${url()}${path}`);
      return { status: response.status, text: await response.text() };
    },
    async volume(id, rung, fields = {}) {
      const name = `volumes/${id}`;
      const volume = { host: "hosts/give", capacityBytes: `${64 << 20}`, sparse: true, filesystem: { type: "ext4" }, ...fields };
      const made = await call("VolumeService/CreateVolume", { volumeId: id, volume });
      const steps: readonly (readonly [string, object])[] = [
        ["PublishVolume", { name }],
        ["ConnectVolume", { name, host: "hosts/take" }],
        ["StageVolume", { name, host: "hosts/take", stagingPath: `/mnt/${id}` }],
        ["MountVolume", { name, host: "hosts/take", targetPath: `/srv/${id}` }],
      ];
      for (const [method, message] of steps.slice(0, rungs.indexOf(rung))) await call(`VolumeService/${method}`, message);
      return String((made["volume"] as Json)["handle"]);
    },
    async restart(between = () => Promise.resolve()) {
      await plane.stop();
      await between();
      plane = await start();
    },
    async [Symbol.asyncDispose]() {
      await plane.stop();
      await rm(dataDir, { recursive: true });
    },
  };
}
