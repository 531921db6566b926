import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { debianSources } from "./apt-sources.ts";
import { cacheDirectory, cachedDirectory } from "./cache.ts";
import { guestFiles, maskedUnits } from "./guest-files.ts";
import { debianRelease, finishScript, imageKey, mmdebstrapCommand, packagesKey, rootImageBytes } from "./recipe.ts";
import { roleNames, type RoleName } from "./roles.ts";
import { mustRun } from "./run-tool.ts";

export interface BuildOptions {
  readonly signal: AbortSignal;
  /** Receives one line of progress at a time. */
  readonly log: (line: string) => void;
}

export interface Image {
  readonly key: string;
  readonly rootDisk: string;
  readonly kernel: string;
  readonly initrd: string;
  /** Logs in as root on both machines. Mode 0600. */
  readonly privateKeyPath: string;
  /** Public host key of each machine, as `ssh-ed25519 AAAA...`. */
  readonly hostKeys: Readonly<Record<RoleName, string>>;
}

/** The base image of both machines, built when the cache does not hold one of this recipe. */
export async function ensureImage(options: BuildOptions): Promise<Image> {
  const directory = join(cacheDirectory(), imageKey);
  await cachedDirectory(
    directory,
    async (unfinished) => {
      const packages = await ensurePackages(options);
      options.log("putting the base image together");
      await finishImage(unfinished, packages, options);
    },
    options,
  );
  const hostKey = async (role: RoleName): Promise<string> =>
    (await readFile(join(directory, `host-key-${role}.pub`), "utf8")).split(" ").slice(0, 2).join(" ").trim();
  return {
    key: imageKey,
    rootDisk: join(directory, "root.img"),
    kernel: join(directory, "vmlinuz"),
    initrd: join(directory, "initrd.img"),
    privateKeyPath: join(directory, "login-key"),
    hostKeys: { give: await hostKey("give"), take: await hostKey("take") },
  };
}

/** A tar of the installed Debian packages with the ZFS module compiled. */
async function ensurePackages(options: BuildOptions): Promise<string> {
  const directory = join(cacheDirectory(), packagesKey);
  await cachedDirectory(
    directory,
    async (unfinished) => {
      const sources = await debianSources(debianRelease);
      options.log("installing Debian packages and compiling the ZFS module (about 16 minutes on two cores)");
      await mustRun("install the guests' packages", mmdebstrapCommand(join(unfinished, "packages.tar"), sources), {
        signal: options.signal,
        onLine: (line) => {
          if (/^I: /.test(line)) options.log(line.slice(3));
        },
      });
    },
    options,
  );
  return join(directory, "packages.tar");
}

async function finishImage(out: string, packages: string, options: BuildOptions): Promise<void> {
  await makeKeys(out, options);
  const overlay = await overlayArchive(out, options);
  const root = join(out, "root");
  await mkdir(root, { mode: 0o755 });
  const variables = {
    PACKAGES: packages,
    OVERLAY: overlay,
    ROOT: root,
    OUT: out,
    MASKED: maskedUnits.join(" "),
    SIZE_KB: String(rootImageBytes / 1024),
  };
  await mustRun(
    "build the base image",
    [
      "unshare",
      // Without root privilege, a user namespace with the subordinate ids of /etc/subuid stands in for it.
      ...(process.getuid?.() === 0 ? [] : ["--map-root-user", "--map-auto"]),
      ...["--mount", "--pid", "--fork", "env"],
      ...Object.entries(variables).map(([name, value]) => `${name}=${value}`),
      ...["sh", "-c", finishScript],
    ],
    { signal: options.signal },
  );
  await rm(overlay);
  await rm(root, { recursive: true, force: true });
}

async function makeKeys(directory: string, options: BuildOptions): Promise<void> {
  for (const name of ["login-key", ...roleNames.map((role) => `host-key-${role}`)]) {
    const path = join(directory, name);
    await mustRun("make an ssh key", ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "zfsilo", "-f", path], options);
    await chmod(path, 0o600);
  }
}

/** Only files, owned by root: the archive must not change the directories it unpacks into. */
async function overlayArchive(keys: string, options: BuildOptions): Promise<string> {
  const staging = join(keys, "overlay");
  const files: Record<string, { content: string; mode: number }> = { ...guestFiles };
  files["/root/.ssh/authorized_keys"] = { content: await readFile(join(keys, "login-key.pub"), "utf8"), mode: 0o600 };
  for (const role of roleNames) {
    const content = await readFile(join(keys, `host-key-${role}`), "utf8");
    files[`/etc/ssh/zfsilo/${role}`] = { content, mode: 0o600 };
  }
  for (const [path, { content, mode }] of Object.entries(files)) {
    const target = join(staging, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content);
    await chmod(target, mode);
  }
  const archive = join(keys, "overlay.tar");
  const names = Object.keys(files).map((path) => `.${path}`);
  await mustRun(
    "pack the guests' files",
    ["tar", "--owner=0", "--group=0", "--numeric-owner", "-C", staging, "-cf", archive, ...names],
    options,
  );
  await rm(staging, { recursive: true });
  return archive;
}
