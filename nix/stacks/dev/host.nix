# The machine that runs the control plane. Its hosts are added with HostService/CreateHost, by ssh to 10.9.0.2 and 10.9.0.3.
{
  zfsilo.dev = {
    number = 1;
    sshPort = 9200;
  };

  networking.hostName = "host";

  microvm = {
    volumes = [
      {
        image = "host-state.img";
        # MiB
        size = 1024;
        mountPoint = "/var/lib/zfsilo";
      }
    ];
    forwardPorts = [
      {
        from = "host";
        host.address = "127.0.0.1";
        host.port = 8080;
        guest.port = 8080;
      }
    ];
  };

  services.zfsilo = {
    enable = true;
    # Any address inside the machine; outside, only this machine's loopback leads to it.
    listen = "0.0.0.0:8080";
  };
}
