// Command kube-cluster is the control plane of a Kubernetes cluster without nodes, for the CSI sidecars of the chart to work
// against: an API server, the etcd behind it, and those controllers that act on volumes. All of it is Kubernetes' own code.
//
//	kube-cluster DIRECTORY KUBECONFIG [FLAG OF kube-apiserver]...
//
// DIRECTORY, an absolute path, gets etcd's data and socket. The controllers speak to the API server as KUBECONFIG says.
// It ends when its stdin does, so that it never outlives the test that started it.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) < 3 {
		fatal("read arguments", errors.New("usage: kube-cluster DIRECTORY KUBECONFIG [FLAG OF kube-apiserver]"))
	}
	directory, kubeconfig, flags := os.Args[1], os.Args[2], os.Args[3:]
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	etcd, err := startEtcd(directory)
	if err != nil {
		fatal("start etcd", err)
	}
	server := app.NewAPIServerCommand()
	server.SetArgs(append([]string{"--etcd-servers=" + etcd}, flags...))
	go func() {
		if err := runControllers(server.Context(), kubeconfig); err != nil {
			fatal("run controllers", err)
		}
	}()
	if err := server.ExecuteContext(server.Context()); err != nil {
		fatal("run kube-apiserver", err)
	}
}

func fatal(doing string, err error) {
	fmt.Fprintf(os.Stderr, "kube-cluster: %s: %v\n", doing, err)
	os.Exit(1)
}

// startEtcd returns the address for its clients once it serves.
func startEtcd(directory string) (string, error) {
	if err := os.Chdir(directory); err != nil {
		return "", err
	}
	config := embed.NewConfig()
	config.Dir = filepath.Join(directory, "etcd")
	config.LogLevel = "error"
	// The data is gone with the test, so nobody has to wait for the disk.
	config.UnsafeNoFsync = true
	// Sockets in this directory. They have no ports, but names without one are refused.
	clients, peers := url.URL{Scheme: "unix", Host: "etcd.sock:0"}, url.URL{Scheme: "unix", Host: "peer.sock:0"}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
	config.InitialCluster = config.Name + "=" + peers.String()
	server, err := embed.StartEtcd(config)
	if err != nil {
		return "", err
	}
	select {
	case <-server.Server.ReadyNotify():
		return "unix://" + filepath.Join(directory, clients.Host), nil
	case err := <-server.Err():
		return "", err
	}
}
