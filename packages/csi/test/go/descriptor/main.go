// Prints the descriptor of csi.proto that the spec's own Go package was generated from.
package main

import (
	"log"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
)

func main() {
	message, err := proto.Marshal(protodesc.ToFileDescriptorProto(csi.File_csi_proto))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := os.Stdout.Write(message); err != nil {
		log.Fatal(err)
	}
}
