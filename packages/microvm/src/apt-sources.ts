import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { StorageError } from "@zfsilo/lib";

/** Debian's archive areas that the guests need: ZFS is in contrib. */
const components = "main contrib";
const codenames = /^(bookworm|trixie|forky|sid|bullseye|stable|oldstable|testing)(-updates|-security)?$/;

interface Source {
  readonly uri: string;
  readonly suite: string;
  readonly signedBy: string | undefined;
}

/**
 * The apt lines for a Debian of the given release, from the sources of the machine that builds: whatever mirror, proxy
 * or cache this machine was given serves the guests too. ZFSILO_DEBIAN_MIRROR names a mirror where it has no Debian source.
 */
export async function debianSources(
  release: string,
  environment: NodeJS.ProcessEnv = process.env,
  aptDirectory = "/etc/apt",
): Promise<readonly string[]> {
  const given = environment["ZFSILO_DEBIAN_MIRROR"];
  if (given !== undefined && given !== "") return [`deb ${given} ${release} ${components}`];
  const lines = aptLines(parseSources(await readSourceFiles(aptDirectory)), release);
  if (lines.length === 0) {
    throw new StorageError("precondition", `find a Debian mirror in ${aptDirectory}`, {
      hint: "Set ZFSILO_DEBIAN_MIRROR to the address of a Debian archive.",
    });
  }
  return lines;
}

/** One line per archive, for `release` whatever the release of the building machine. */
export function aptLines(sources: readonly Source[], release: string): readonly string[] {
  const lines = sources.flatMap(({ uri, suite, signedBy }) => {
    const match = codenames.exec(suite);
    if (match === null) return [];
    const option = signedBy === undefined ? "" : ` [signed-by=${signedBy}]`;
    return [`deb${option} ${uri} ${release}${match[2] ?? ""} ${components}`];
  });
  return [...new Set(lines)];
}

export function parseSources(files: ReadonlyMap<string, string>): readonly Source[] {
  return [...files].flatMap(([name, text]) => (name.endsWith(".sources") ? parseDeb822(text) : parseOneLine(text)));
}

/** One-line style of sources.list(5): `deb [signed-by=/k] http://mirror/debian bookworm main`. */
function parseOneLine(text: string): Source[] {
  return text.split("\n").flatMap((line) => {
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+\S/.exec(line.trim());
    if (match === null) return [];
    const [, options = "", uri = "", suite = ""] = match;
    return [{ uri, suite, signedBy: /(?:^|\s)signed-by=(\S+)/.exec(options)?.[1] }];
  });
}

/** deb822 style of sources.list(5): paragraphs of `Types:`, `URIs:`, `Suites:`, each of which may list several. */
function parseDeb822(text: string): Source[] {
  return text.split(/\n\s*\n/).flatMap((paragraph) => {
    const lines = paragraph.split("\n").filter((line) => !line.startsWith("#"));
    const field = (name: string): string[] => {
      const line = lines.find((candidate) => candidate.toLowerCase().startsWith(`${name}:`));
      return line === undefined ? [] : line.slice(name.length + 1).trim().split(/\s+/).filter((word) => word !== "");
    };
    if (!field("types").includes("deb") || field("enabled")[0]?.toLowerCase() === "no") return [];
    // A key inside the paragraph itself leaves only its first line here, which is no path.
    const key = field("signed-by").find((word) => word.startsWith("/"));
    return field("uris").flatMap((uri) => field("suites").map((suite) => ({ uri, suite, signedBy: key })));
  });
}

async function readSourceFiles(directory: string): Promise<ReadonlyMap<string, string>> {
  const parts = await readdir(join(directory, "sources.list.d")).catch(() => []);
  const paths = [
    join(directory, "sources.list"),
    ...parts
      .filter((name) => /\.(list|sources)$/.test(name))
      .sort()
      .map((name) => join(directory, "sources.list.d", name)),
  ];
  const files = new Map<string, string>();
  for (const path of paths) {
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text !== undefined) files.set(path, text);
  }
  return files;
}
