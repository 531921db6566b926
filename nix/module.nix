{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.zfsilo;
  format = pkgs.formats.json { };
  inherit (lib)
    mkEnableOption
    mkIf
    mkMerge
    mkOption
    types
    ;
in
{
  options.services.zfsilo = {
    enable = mkEnableOption "the zfsilo control plane";

    package = mkOption {
      type = types.package;
      description = "The zfsilo package.";
    };

    settings = mkOption {
      inherit (format) type;
      default = { };
      description = ''
        Content of the configuration file (ZFSILO_CONFIG). It is world-readable in the store: secrets belong in
        `environmentFile`. Empty leaves zfsilo without a file: two simulated hosts.
      '';
    };

    listen = mkOption {
      type = types.str;
      default = "127.0.0.1:8080";
      description = "Address and port of the one port for gRPC, gRPC-Web, Connect, health and metrics.";
    };

    dataDir = mkOption {
      type = types.path;
      default = "/var/lib/zfsilo";
      description = "Where the database, the admin token and the secret key are kept.";
    };

    environmentFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "File of NAME=value lines for secrets, such as ZFSILO_SECRET_KEY. Read by systemd, not by the service's user.";
    };

    manageThisHost = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Let the control plane act on the machine it runs on (a host with a local connection). It then runs as root and
        sees devices, kernel modules and mounts; otherwise it has no privilege at all and reaches hosts by ssh.
      '';
    };
  };

  config = mkIf cfg.enable {
    users = mkIf (!cfg.manageThisHost) {
      users.zfsilo = {
        isSystemUser = true;
        group = "zfsilo";
        home = cfg.dataDir;
      };
      groups.zfsilo = { };
    };

    systemd.tmpfiles.settings.zfsilo.${cfg.dataDir}.d = {
      mode = "0700";
      user = if cfg.manageThisHost then "root" else "zfsilo";
      group = if cfg.manageThisHost then "root" else "zfsilo";
    };

    systemd.services.zfsilo = {
      description = "zfsilo control plane";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      environment = {
        ZFSILO_LISTEN = cfg.listen;
        ZFSILO_DATA_DIR = cfg.dataDir;
        NODE_ENV = "production";
      }
      // lib.optionalAttrs (cfg.settings != { }) {
        ZFSILO_CONFIG = format.generate "zfsilo.json" cfg.settings;
      };
      path = lib.optionals cfg.manageThisHost [
        config.boot.zfs.package
        pkgs.openiscsi
        pkgs.e2fsprogs
        pkgs.xfsprogs
        pkgs.util-linux
        pkgs.diffutils
        pkgs.perl
        pkgs.kmod
        config.systemd.package
      ];

      serviceConfig = mkMerge [
        {
          ExecStart = lib.getExe cfg.package;
          Restart = "on-failure";
          RestartSec = 2;
          # zfsilo stops within 10 s: operations reach a step boundary and go on after the next start.
          TimeoutStopSec = 20;
          KillMode = "mixed";
          UMask = "0077";
          LockPersonality = true;
          NoNewPrivileges = true;
          PrivateTmp = true;
          ProtectClock = true;
          ProtectHostname = true;
          RestrictRealtime = true;
          RestrictSUIDSGID = true;
          RestrictAddressFamilies = [
            "AF_INET"
            "AF_INET6"
            "AF_UNIX"
            "AF_NETLINK"
          ];
          SystemCallArchitectures = "native";
        }
        (mkIf (cfg.environmentFile != null) { EnvironmentFile = cfg.environmentFile; })
        (mkIf cfg.manageThisHost {
          # Mounts made for volumes must be seen by everybody, so the service has no mount namespace of its own.
          PrivateTmp = lib.mkForce false;
          ProtectClock = lib.mkForce false;
          ProtectHostname = lib.mkForce false;
        })
        (mkIf (!cfg.manageThisHost) {
          User = "zfsilo";
          Group = "zfsilo";
          ReadWritePaths = [ cfg.dataDir ];
          CapabilityBoundingSet = "";
          DevicePolicy = "closed";
          PrivateDevices = true;
          ProcSubset = "pid";
          ProtectControlGroups = true;
          ProtectHome = "tmpfs";
          ProtectKernelLogs = true;
          ProtectKernelModules = true;
          ProtectKernelTunables = true;
          ProtectProc = "invisible";
          ProtectSystem = "strict";
          RemoveIPC = true;
          RestrictNamespaces = true;
          # No MemoryDenyWriteExecute: V8 compiles to memory that it then runs.
          SystemCallFilter = [
            "@system-service"
            "~@privileged"
          ];
          # Refused, not killed: Node raises its limit of open files at start, and lives on when it may not.
          SystemCallErrorNumber = "EPERM";
        })
      ];
    };
  };
}
