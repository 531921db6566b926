import { within } from "@zfsilo/lib";
import { spawn } from "node:child_process";
import { access, constants, mkdir, readFile, writeFile } from "node:fs/promises";
import { availableParallelism, release } from "node:os";
import { join } from "node:path";
import { cacheDirectory, keyOf } from "./cache.ts";
import type { BuildOptions, Image } from "./image.ts";
import { kernelCommandLine, machineArguments, type Acceleration } from "./qemu-command.ts";
import { mustRun, toolEnvironment } from "./run-tool.ts";

/** Half of this machine's processors for each of the two machines, at most four: no more are of use to them. */
export function guestCpus(processors = availableParallelism()): number {
  return Math.max(1, Math.min(4, Math.floor(processors / 2)));
}

export async function qemuVersion(signal: AbortSignal): Promise<string> {
  const text = await mustRun("ask QEMU's version", ["qemu-system-x86_64", "--version"], { signal });
  return text.split("\n")[0] ?? text;
}

/**
 * KVM if the guest's kernel really starts with it, else emulation. /dev/kvm may be there and still refuse to run a guest
 * (a nested host without svm or vmx), so the answer is found by booting, and kept for this kernel and QEMU.
 */
export async function chooseAcceleration(image: Image, version: string, options: BuildOptions): Promise<Acceleration> {
  if (!(await mayOpenKvm())) return "tcg";
  const remembered = join(cacheDirectory(), `acceleration-${keyOf({ host: release(), version, image: image.key })}`);
  const known = (await readFile(remembered, "utf8").catch(() => "")).trim();
  if (known === "kvm" || known === "tcg") return known;
  options.log("testing whether a machine boots with KVM");
  const answer = (await bootsWithKvm(image, options.signal)) ? "kvm" : "tcg";
  options.log(answer === "kvm" ? "KVM works" : "/dev/kvm does not run a guest here: using emulation");
  await mkdir(cacheDirectory(), { recursive: true });
  await writeFile(remembered, `${answer}\n`);
  return answer;
}

async function mayOpenKvm(): Promise<boolean> {
  return access("/dev/kvm", constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}

/** The kernel has started its initramfs when it says so on the console, which takes a second or two under KVM. */
function bootsWithKvm(image: Image, signal: AbortSignal): Promise<boolean> {
  const [program, ...rest] = [
    "qemu-system-x86_64",
    ...machineArguments({ acceleration: "kvm", cpus: guestCpus() }),
    ...["-kernel", image.kernel, "-initrd", image.initrd, "-no-reboot", "-serial", "stdio"],
    ...["-append", `${kernelCommandLine("give")} loglevel=7 panic=-1`],
  ] as const;
  const limit = within(30_000, signal);
  return new Promise((resolve) => {
    const child = spawn(program, rest, { stdio: ["ignore", "pipe", "ignore"], env: toolEnvironment(), signal: limit, killSignal: "SIGKILL" });
    let seen = "";
    child.stdout.on("data", (chunk: Buffer) => {
      seen += chunk.toString("latin1");
      if (!seen.includes("Run /init as init process")) return;
      resolve(true);
      child.kill("SIGKILL");
    });
    const failed = (): void => {
      resolve(false);
    };
    child.on("error", failed);
    child.on("close", failed);
  });
}
