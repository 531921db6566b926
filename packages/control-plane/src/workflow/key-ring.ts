import { StorageError, type Secret, type VolumeId } from "@zfsilo/lib";

/**
 * Keys that callers gave, for as long as their calls run and in this process alone: an operation's journal must not have them.
 * So an operation that needs one is taken back when its process dies, and the call is made again with the key.
 */
export class KeyRing {
  readonly #keys = new Map<VolumeId, Secret>();

  async holding<T>(volume: VolumeId, key: Secret | undefined, work: () => Promise<T>): Promise<T> {
    if (key === undefined) return await work();
    this.#keys.set(volume, key);
    try {
      return await work();
    } finally {
      this.#keys.delete(volume);
    }
  }

  get(volume: VolumeId): Secret {
    const key = this.#keys.get(volume);
    if (key !== undefined) return key;
    throw new StorageError("precondition", `use the key of volumes/${volume}: nobody has given it`, {
      details: { volume: `volumes/${volume}`, field: "encryption_key" },
      hint: "Repeat the call with its key.",
    });
  }
}
