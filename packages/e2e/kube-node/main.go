// Command kube-node is a node of a Kubernetes cluster, for our driver to be driven by Kubernetes' own kubelet.
//
//	kube-node kubelet [FLAG OF kubelet]...
//	kube-node runtime SOCKET
//	kube-node registrar DRIVER_SOCKET DIRECTORY
//
// The kubelet is the real one, with nothing replaced: what it does to volumes, it does. The runtime only pretends to run
// containers (runtime.go). The registrar tells kubelet of the driver (registrar.go). They are processes of their own, as on a
// node: each outlives the death of another.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	switch arguments := os.Args[1:]; {
	case len(arguments) > 0 && arguments[0] == "kubelet":
		command := app.NewKubeletCommand(context.Background())
		command.SetArgs(arguments[1:])
		os.Exit(cli.Run(command))
	case len(arguments) == 2 && arguments[0] == "runtime":
		end("pretend to run containers", serveRuntime(arguments[1]))
	case len(arguments) == 3 && arguments[0] == "registrar":
		end("register the driver", serveRegistration(context.Background(), arguments[1], arguments[2]))
	default:
		end("read arguments", errors.New("usage: kube-node kubelet [FLAG]... | runtime SOCKET | registrar DRIVER_SOCKET DIRECTORY"))
	}
}

// listen takes the place of whoever listened on socket before it died.
func listen(socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", socket)
}

func end(doing string, err error) {
	fmt.Fprintf(os.Stderr, "kube-node: %s: %v\n", doing, err)
	os.Exit(1)
}
