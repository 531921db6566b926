import { isZfsOptionName } from "@zfsilo/host";
import { errorChain, reasonOf, wrapError } from "@zfsilo/lib";

/**
 * Which values an option takes depends on the ZFS of the host, and zfs says which option it minds: `'checksum' must be one of …`
 * (blake3 on 2.1). The caller is told by its own name for it.
 */
export async function namingOption<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const name = /'([a-z]+)' must be /.exec(errorChain(error))?.[1];
    if (reasonOf(error) !== "invalid_argument" || name === undefined || !isZfsOptionName(name)) throw error;
    const field = `volume.zfs_options["${name}"]`;
    throw wrapError(`${field}: the ZFS of the host does not take this value`, error, { field });
  }
}
