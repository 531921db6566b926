# The machine that has the pool and exports volumes.
{
  config,
  lib,
  pkgs,
  ...
}:

{
  zfsilo.dev = {
    number = 2;
    sshPort = 9000;
  };

  networking.hostName = "give";
  # ZFS refuses to import a pool that another machine, told by its host id, used last.
  networking.hostId = "5a46534c";

  microvm.volumes = [
    {
      image = "give-tank.img";
      # MiB. No file system and no mount: it is the pool's.
      size = 8192;
      mountPoint = null;
      label = "tank";
    }
  ];

  boot = {
    supportedFilesystems.zfs = true;
    # The pool is imported or made below, when its disk is there.
    zfs.forceImportRoot = false;
    kernelModules = [
      "target_core_mod"
      "target_core_iblock"
      "iscsi_target_mod"
      "nvmet"
      "nvmet-tcp"
    ];
  };

  # zfsilo keeps exports itself and writes configfs: nothing may restore older ones behind its back.
  services.target.enable = false;

  environment.systemPackages = [
    pkgs.targetcli-fb
    pkgs.perl
  ];

  systemd.services.tank = {
    description = "The pool tank";
    wantedBy = [ "multi-user.target" ];
    before = [ "sshd.service" ];
    path = [
      config.boot.zfs.package
      pkgs.util-linux
    ];
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
    };
    # The new image carries an ext4 labelled tank: that label, and no pool, is what a first start looks like.
    script = ''
      if zpool import -N tank; then exit 0; fi
      disk=$(blkid --label tank)
      zpool create -f -O mountpoint=none tank "$disk"
    '';
  };

  assertions = [
    {
      assertion = lib.versionAtLeast config.boot.zfs.package.version "2.1.11";
      message = "zfsilo is tested with ZFS 2.1.11 and newer";
    }
  ];
}
