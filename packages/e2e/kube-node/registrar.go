package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registrar stands in for node-driver-registrar, the sidecar of the chart's DaemonSet, whose module the Go module proxy does not
// serve, so that it cannot be built here. It has the sidecar's one task: kubelet looks for sockets in its plugins_registry, asks
// each who it speaks for, and says how it took that. It is no proof that the sidecar itself works with our driver.
type registrar struct {
	registration.UnimplementedRegistrationServer
	driver, socket string
	refused        chan error
}

// serveRegistration registers the driver behind a socket in a directory that kubelet watches. Like the sidecar it ends when kubelet
// refuses the driver, to be started again.
func serveRegistration(ctx context.Context, socket, directory string) error {
	driver, err := driverName(ctx, socket)
	if err != nil {
		return err
	}
	listener, err := listen(filepath.Join(directory, driver+"-reg.sock"))
	if err != nil {
		return err
	}
	own := &registrar{driver: driver, socket: socket, refused: make(chan error, 1)}
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, own)
	go func() {
		own.refused <- server.Serve(listener)
	}()
	return <-own.refused
}

func driverName(ctx context.Context, socket string) (string, error) {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	info, err := csi.NewIdentityClient(connection).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return "", err
	}
	return info.GetName(), nil
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:     registration.CSIPlugin,
		Name:     r.driver,
		Endpoint: r.socket,
		// Of the registration of CSI drivers, which all 1.x drivers give, not of the specification.
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registrar) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !status.GetPluginRegistered() {
		r.refused <- fmt.Errorf("kubelet refused %s: %s", r.driver, status.GetError())
	}
	return &registration.RegistrationStatusResponse{}, nil
}
