package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/fake"
)

// pretendedRuntime is the container runtime of Kubernetes' hollow nodes (cmd/kubemark): containers are records in it, which become
// running when they are started and nothing more. So a pod needs no image, no network and no containerd, while its volumes are
// there as for any other pod.
type pretendedRuntime struct {
	*fake.RemoteRuntime
}

// serveRuntime answers kubelet on socket. It returns only when it fails.
func serveRuntime(socket string) error {
	runtime := pretendedRuntime{fake.NewFakeRemoteRuntime()}
	runtime.RuntimeService.FakeStatus = &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: runtimeapi.RuntimeReady, Status: true},
		{Type: runtimeapi.NetworkReady, Status: true},
	}}
	// Kubelet takes an image without a size for one that is not there.
	runtime.ImageService.SetFakeImageSize(1)
	// Kubelet tells nothing of its node and its volumes without knowing where images are kept.
	runtime.ImageService.SetFakeFilesystemUsage([]*runtimeapi.FilesystemUsage{{
		Timestamp:  time.Now().UnixNano(),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: "/"},
		UsedBytes:  &runtimeapi.UInt64Value{Value: 1},
		InodesUsed: &runtimeapi.UInt64Value{Value: 1},
	}})
	listener, err := listen(socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	runtimeapi.RegisterRuntimeServiceServer(server, runtime)
	runtimeapi.RegisterImageServiceServer(server, runtime)
	return server.Serve(listener)
}

// CreateContainer writes an empty log where kubelet wants one, and remembers where, which the hollow nodes' runtime does not. Kubelet
// removes PATH* with a container: of no path at all, that is what lies in kubelet's working directory, /.
func (r pretendedRuntime) CreateContainer(ctx context.Context, request *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	path := filepath.Join(request.SandboxConfig.LogDirectory, request.Config.LogPath)
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		return nil, err
	}
	response, err := r.RemoteRuntime.CreateContainer(ctx, request)
	if err != nil {
		return nil, err
	}
	r.RuntimeService.Lock()
	defer r.RuntimeService.Unlock()
	r.RuntimeService.Containers[response.ContainerId].LogPath = path
	return response, nil
}

// ListContainerStats names every container, with no use of anything: kubelet tells of a pod's volumes, which it measures itself, only
// if the runtime tells of the pod's containers.
func (r pretendedRuntime) ListContainerStats(ctx context.Context, _ *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	containers, err := r.RuntimeService.ListContainers(ctx, nil)
	if err != nil {
		return nil, err
	}
	response := &runtimeapi.ListContainerStatsResponse{}
	for _, container := range containers {
		response.Stats = append(response.Stats, &runtimeapi.ContainerStats{Attributes: &runtimeapi.ContainerAttributes{
			Id:          container.Id,
			Metadata:    container.Metadata,
			Labels:      container.Labels,
			Annotations: container.Annotations,
		}})
	}
	return response, nil
}
