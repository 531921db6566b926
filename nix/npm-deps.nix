# What `npm ci` makes of one package-lock.json. `lock` is that file's sha256 (hexadecimal), `hash` the hash of the result.
# While `lock` is not that of the file in the tree, the build stops and prints the new `hash`: an old set of dependencies
# is never taken for the new one. To update: write the sha256 sum of package-lock.json here, build, copy what is printed.
{
  lock = "";
  hash = "";
}
