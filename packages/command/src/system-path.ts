/**
 * Where programs are looked for on every host, whoever we log in as: the storage tools live in sbin directories, which
 * a plain user's PATH lacks, and NixOS keeps them under /run.
 */
export const systemPath =
  "/run/wrappers/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";
