# What the development machines share: two network cards each, one to log in through, one for storage.
{ config, lib, ... }:

let
  inherit (lib) mkOption types;
  cfg = config.zfsilo.dev;
  hex = lib.fixedWidthString 2 "0" (lib.toLower (lib.toHexString cfg.number));
in
{
  options.zfsilo.dev = {
    number = mkOption {
      type = types.ints.between 1 254;
      description = "Last part of the machine's address on the storage network 10.9.0.0/24, and of its network cards.";
    };
    sshPort = mkOption {
      type = types.port;
      description = "Port on this machine's loopback that leads to the machine's ssh.";
    };
    authorizedKeys = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Public keys that may log in as root.";
    };
  };

  config = {
    microvm = {
      hypervisor = "qemu";
      # Not QEMU's microvm board: the storage card below is a PCI device.
      qemu.machine = "q35";
      vcpu = lib.mkDefault 2;
      mem = lib.mkDefault 1536;
      shares = [
        {
          proto = "9p";
          tag = "ro-store";
          source = "/nix/store";
          mountPoint = "/nix/.ro-store";
        }
      ];
      interfaces = [
        {
          type = "user";
          id = "login";
          mac = "52:54:00:5a:01:${hex}";
        }
      ];
      forwardPorts = [
        {
          from = "host";
          host.address = "127.0.0.1";
          host.port = cfg.sshPort;
          guest.port = 22;
        }
      ];
      # All machines of the stack meet on one multicast group on loopback: no bridge and no privilege needed.
      qemu.extraArgs = [
        "-netdev"
        "socket,id=storage,mcast=230.0.0.9:9009,localaddr=127.0.0.1"
        "-device"
        "virtio-net-pci,netdev=storage,mac=52:54:00:5a:09:${hex}"
      ];
    };

    networking = {
      useNetworkd = true;
      firewall.enable = false;
    };
    systemd.network.networks = {
      "10-login" = {
        matchConfig.MACAddress = "52:54:00:5a:01:${hex}";
        networkConfig.DHCP = "ipv4";
      };
      "10-storage" = {
        matchConfig.MACAddress = "52:54:00:5a:09:${hex}";
        address = [ "10.9.0.${toString cfg.number}/24" ];
        linkConfig.RequiredForOnline = false;
      };
    };

    services.openssh = {
      enable = true;
      settings.PasswordAuthentication = false;
    };
    users.users.root.openssh.authorizedKeys.keys = cfg.authorizedKeys;

    system.stateVersion = lib.mkDefault "25.05";
  };
}
