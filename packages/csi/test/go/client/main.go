// Makes CSI calls with grpc-go and the spec's own messages, as the sidecars do. Reads one call a line from stdin, all of
// them at once, and prints one answer a line:
//
//	{"id": "1", "method": "csi.v1.Identity/Probe", "request": {}, "timeoutMs": 10000}
//	{"id": "1", "code": "OK", "message": "", "responses": [{"ready": true}]}
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	_ "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

type call struct {
	ID        string          `json:"id"`
	Method    string          `json:"method"`
	Request   json.RawMessage `json:"request"`
	TimeoutMs int             `json:"timeoutMs"`
}

type answer struct {
	ID        string            `json:"id"`
	Code      string            `json:"code"`
	Message   string            `json:"message"`
	Responses []json.RawMessage `json:"responses"`
}

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	var calls sync.WaitGroup
	var printing sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var next call
		if err := json.Unmarshal(lines.Bytes(), &next); err != nil {
			log.Fatal(err)
		}
		calls.Add(1)
		go func() {
			defer calls.Done()
			responses, err := invoke(connection, next)
			result := status.Convert(err)
			text, err := json.Marshal(answer{next.ID, result.Code().String(), result.Message(), responses})
			if err != nil {
				log.Fatal(err)
			}
			printing.Lock()
			defer printing.Unlock()
			fmt.Println(string(text))
		}()
	}
	calls.Wait()
}

func invoke(connection *grpc.ClientConn, next call) ([]json.RawMessage, error) {
	name := protoreflect.FullName(strings.Replace(next.Method, "/", ".", 1))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil, err
	}
	method := found.(protoreflect.MethodDescriptor)
	request, err := newMessage(method.Input())
	if err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(next.Request, request); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(next.TimeoutMs)*time.Millisecond)
	defer cancel()
	description := &grpc.StreamDesc{ServerStreams: method.IsStreamingServer()}
	stream, err := connection.NewStream(ctx, description, "/"+next.Method)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(request); err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	var responses []json.RawMessage
	for {
		response, err := newMessage(method.Output())
		if err != nil {
			return nil, err
		}
		if err := stream.RecvMsg(response); err != nil {
			if errors.Is(err, io.EOF) {
				return responses, nil
			}
			return responses, err
		}
		text, err := protojson.Marshal(response)
		if err != nil {
			return nil, err
		}
		responses = append(responses, text)
		if !method.IsStreamingServer() {
			return responses, nil
		}
	}
}

func newMessage(of protoreflect.MessageDescriptor) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(of.FullName())
	if err != nil {
		return nil, err
	}
	return kind.New().Interface(), nil
}
