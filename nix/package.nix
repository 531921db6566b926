{
  lib,
  stdenv,
  stdenvNoCC,
  cacert,
  makeWrapper,
  nodejs_22,
  python3,
  srcOnly,
}:

let
  nodejs = nodejs_22;
  root = ../.;
  inherit (lib) fileset;

  manifests = fileset.toSource {
    inherit root;
    fileset = fileset.unions [
      ../package.json
      ../package-lock.json
      (fileset.fileFilter (file: file.name == "package.json") ../packages)
    ];
  };

  recorded = import ./npm-deps.nix;
  depsHash =
    if recorded.lock == builtins.hashFile "sha256" ../package-lock.json then
      recorded.hash
    else
      lib.fakeHash;

  # The lock file names versions and hashes but no addresses, so npm itself has to fetch: a fixed-output derivation.
  # No script of a dependency runs here; the one native module is compiled in the build below.
  nodeModules = stdenvNoCC.mkDerivation {
    name = "zfsilo-node-modules";
    src = manifests;
    nativeBuildInputs = [ nodejs ];
    impureEnvVars = lib.fetchers.proxyImpureEnvVars ++ [ "NPM_CONFIG_REGISTRY" ];
    SSL_CERT_FILE = "${cacert}/etc/ssl/certs/ca-bundle.crt";
    NODE_EXTRA_CA_CERTS = "${cacert}/etc/ssl/certs/ca-bundle.crt";
    buildPhase = ''
      runHook preBuild
      export HOME=$TMPDIR
      npm ci --ignore-scripts --no-audit --no-fund
      find . -name .package-lock.json -path '*/node_modules/*' -delete
      runHook postBuild
    '';
    installPhase = ''
      runHook preInstall
      mkdir -p $out
      find . -name node_modules -prune -print0 | xargs -0 cp -a --parents -t $out
      runHook postInstall
    '';
    dontFixup = true;
    outputHashMode = "recursive";
    outputHash = depsHash;
  };
in
stdenv.mkDerivation {
  pname = "zfsilo";
  version = (lib.importJSON ../packages/control-plane/package.json).version;

  src = fileset.toSource {
    inherit root;
    fileset = fileset.unions [
      ../package.json
      ../package-lock.json
      ../tsconfig.json
      ../tsconfig.base.json
      (fileset.fileFilter (file: !(lib.hasSuffix ".test.ts" file.name)) ../packages)
    ];
  };

  nativeBuildInputs = [
    makeWrapper
    nodejs
    python3
  ];

  configurePhase = ''
    runHook preConfigure
    export HOME=$TMPDIR
    cp -r --no-preserve=mode ${nodeModules}/. .
    chmod -R u+w,a+X node_modules
    find node_modules -path '*/bin/*' -type f -exec chmod +x {} +
    patchShebangs node_modules
    npm_config_nodedir=${srcOnly nodejs} npm rebuild --offline --build-from-source sqlite3
    runHook postConfigure
  '';

  buildPhase = ''
    runHook preBuild
    node node_modules/typescript/bin/tsc -b packages/control-plane
    runHook postBuild
  '';

  # The packages find one another through the links in node_modules/@zfsilo, which point to ../../packages.
  installPhase = ''
    runHook preInstall
    npm prune --omit=dev --offline --ignore-scripts --no-audit --no-fund
    mkdir -p $out/lib/zfsilo/packages $out/bin
    cp -a package.json node_modules $out/lib/zfsilo/
    for package in packages/*; do
      [ -d "$package/dist" ] || continue
      mkdir -p "$out/lib/zfsilo/$package"
      cp -a "$package/package.json" "$package/dist" "$out/lib/zfsilo/$package/"
      if [ -d "$package/node_modules" ]; then cp -a "$package/node_modules" "$out/lib/zfsilo/$package/"; fi
    done
    find $out/lib/zfsilo/node_modules -xtype l -delete
    makeWrapper ${nodejs}/bin/node $out/bin/zfsilo --add-flags $out/lib/zfsilo/packages/control-plane/dist/main.js
    runHook postInstall
  '';

  meta = {
    description = "Network block storage from Linux hosts with ZFS";
    license = lib.licenses.asl20;
    mainProgram = "zfsilo";
    platforms = lib.platforms.linux;
  };
}
