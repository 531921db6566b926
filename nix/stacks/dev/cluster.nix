# A Kubernetes of one node that can mount volumes: an initiator with k3s on top.
{ config, pkgs, ... }:

{
  zfsilo.dev = {
    number = 4;
    sshPort = 9300;
  };

  networking.hostName = "cluster";

  microvm = {
    mem = 4096;
    volumes = [
      {
        image = "cluster-state.img";
        # MiB
        size = 16384;
        mountPoint = "/var/lib/rancher";
      }
    ];
    forwardPorts = [
      {
        from = "host";
        host.address = "127.0.0.1";
        host.port = 6443;
        guest.port = 6443;
      }
    ];
  };

  services.k3s = {
    enable = true;
    role = "server";
    extraFlags = [
      "--node-ip=10.9.0.${toString config.zfsilo.dev.number}"
      "--disable=traefik,servicelb,local-storage"
      "--tls-san=127.0.0.1"
    ];
  };

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
    pkgs.kubectl
    pkgs.e2fsprogs
    pkgs.xfsprogs
  ];
}
