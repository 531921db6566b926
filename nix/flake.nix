{
  description = "zfsilo: network block storage from Linux hosts with ZFS";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.05";
    microvm = {
      url = "github:microvm-nix/microvm.nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      microvm,
    }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});

      # The development machines run on x86_64 only; each is a runner: nix run ./nix#give
      machine =
        name:
        nixpkgs.lib.nixosSystem {
          system = "x86_64-linux";
          modules = [
            microvm.nixosModules.microvm
            self.nixosModules.default
            ./stacks/dev/common.nix
            (./stacks/dev + "/${name}.nix")
          ];
        };
      machines = nixpkgs.lib.genAttrs [
        "give"
        "take"
        "host"
        "cluster"
      ] machine;
    in
    {
      packages = nixpkgs.lib.recursiveUpdate (forEachSystem (pkgs: rec {
        zfsilo = pkgs.callPackage ./package.nix { };
        default = zfsilo;
      })) { x86_64-linux = builtins.mapAttrs (_: vm: vm.config.microvm.declaredRunner) machines; };

      nixosModules.default =
        { pkgs, lib, ... }:
        {
          imports = [ ./module.nix ];
          services.zfsilo.package = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.zfsilo;
        };

      nixosConfigurations = machines;

      devShells = forEachSystem (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.nodejs_22
            pkgs.just
            pkgs.grpcurl
            # sqlite3's native part
            pkgs.python3
          ];
        };
      });

      formatter = forEachSystem (pkgs: pkgs.nixfmt-rfc-style);
    };
}
