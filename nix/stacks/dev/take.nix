# The machine that uses volumes.
{ config, pkgs, ... }:

{
  zfsilo.dev = {
    number = 3;
    sshPort = 9100;
  };

  networking.hostName = "take";

  services.openiscsi = {
    enable = true;
    name = "iqn.2026-01.io.zfsilo.vm:${config.networking.hostName}";
  };

  boot.kernelModules = [
    "iscsi_tcp"
    "nvme-tcp"
    "ext4"
    "xfs"
  ];

  environment.systemPackages = [
    pkgs.nvme-cli
    pkgs.e2fsprogs
    pkgs.xfsprogs
    pkgs.diffutils
    pkgs.perl
  ];
}
