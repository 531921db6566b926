import { formatPortal } from "@zfsilo/host";
import { Secret } from "@zfsilo/lib";
import { atMost, type Measure } from "../findings.ts";
import { hostsOf, MachineLab } from "../machine-lab.ts";
import type { MachineMeasurement } from "../measurement.ts";
import { sampleRounds } from "../sampling.ts";
import { startSystem, temporaryDirectory } from "../system.ts";
import { lifeOf } from "../volume-life.ts";

type Name = "connect" | "login" | "ConnectVolume" | "not counted";

const titles = {
  connect: "record, login, device on take over ssh",
  login: "bare iscsiadm --login on take over ssh",
  ConnectVolume: "ConnectVolume on give and take",
} as const satisfies Record<Exclude<Name, "not counted">, string>;

/** Connecting take to a target on give, next to the login alone by a record that is there already. */
export const connectMachines: MachineMeasurement = {
  name: "connect-machines",
  async run({ signal, progress }, machines) {
    await using lab = new MachineLab(machines, signal);
    const { take, lio, iscsi, disks, o } = lab;
    await lio.ensureModules(o);
    const spec = await lab.volume();
    await lio.ensureExport(spec, o);
    const chap = { userid: "bench", password: new Secret("0123456789abcdef") };
    const { target } = spec;
    await lio.ensureInitiator({ target, initiator: await iscsi.initiatorName(o), chap }, o);
    const [portal] = spec.portals;
    if (portal === undefined) throw new Error("the export has no portal");
    const record = { target, portal, chap, replacementTimeoutSeconds: 120 };

    await using directory = await temporaryDirectory();
    await using system = await startSystem({ dataDir: directory.path, hosts: hostsOf(machines) });
    const life = lifeOf(system.volumes, "vol_connect");
    await life.CreateVolume();
    await life.PublishVolume();

    progress("connect, the bare login, and ConnectVolume, in turns");
    const login = async (): Promise<void> => {
      const argv = ["iscsiadm", "-m", "node", "-T", target, "-p", formatPortal(portal), "-I", "default", "--login"] as const;
      const { exitCode, stderr } = await take.run(argv, o);
      if (exitCode !== 0) throw new Error(`${argv.join(" ")}: exit ${exitCode}: ${stderr}`);
    };
    const connect = async (): Promise<void> => {
      await iscsi.writeNodeRecord(record, o);
      await iscsi.login(record, o);
      await disks.awaitIscsiDevice({ target }, spec.handle, o);
    };
    const disconnect = async (): Promise<void> => {
      await iscsi.logout({ target }, o);
      await iscsi.removeNodeRecord(record, o);
    };
    const samples = await sampleRounds<Name>(
      () => [
        ["connect", connect],
        ["not counted", disconnect],
        ["not counted", () => iscsi.writeNodeRecord(record, o)],
        ["login", login],
        ["not counted", disconnect],
        ["ConnectVolume", life.ConnectVolume],
        ["not counted", life.DisconnectVolume],
      ],
      { warmUp: 1, rounds: 8, signal },
    );
    const names = Object.keys(titles) as (keyof typeof titles)[];
    return {
      measures: names.map((name): Measure => ({ name: titles[name], unit: "ms", ...samples.summary(name) })),
      ratios: [
        atMost("record, login, device / bare iscsiadm --login", samples.ratio("connect", "login"), 1.5),
      ],
    };
  },
};
