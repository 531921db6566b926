// Command kube-check reads YAML documents on stdin and says of each what an API server of this Kubernetes version would
// answer to its creation: unknown and duplicate fields, wrong types, missing and impossible values. It prints one JSON
// array on stdout; each member carries the object, so that a test needs no YAML parser of its own.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/capabilities"
	sigsyaml "sigs.k8s.io/yaml"
)

type verdict struct {
	// Object is the document as JSON, before defaults.
	Object map[string]any `json:"object"`
	// Errors is empty when the object would be accepted.
	Errors []string `json:"errors"`
}

func main() {
	// As every cluster that runs storage drivers does.
	capabilities.Initialize(capabilities.Capabilities{AllowPrivileged: true})
	verdicts := []verdict{}
	reader := yaml.NewYAMLReader(bufio.NewReader(os.Stdin))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fatal("read stdin", err)
		}
		if found, empty := check(document); !empty {
			verdicts = append(verdicts, found)
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(verdicts); err != nil {
		fatal("write stdout", err)
	}
}

func fatal(doing string, err error) {
	fmt.Fprintf(os.Stderr, "kube-check: %s: %v\n", doing, err)
	os.Exit(1)
}

func check(document []byte) (verdict, bool) {
	found := verdict{Errors: []string{}}
	// Strict: a key twice in one mapping is an error, as it is for an API server asked to validate fields strictly.
	if err := sigsyaml.UnmarshalStrict(document, &found.Object); err != nil {
		found.Errors = append(found.Errors, err.Error())
		return found, false
	}
	if len(found.Object) == 0 {
		return found, true
	}
	object, problems, err := decode(document)
	if err != nil {
		found.Errors = append(found.Errors, err.Error())
		return found, false
	}
	meta := unstructured.Unstructured{Object: found.Object}
	problems = append(problems, validate(object, meta.GetKind(), meta.GetNamespace() != "")...)
	if meta.GetName() == "" {
		problems = append(problems, field.Required(field.NewPath("metadata", "name"), ""))
	}
	for _, problem := range problems {
		// Some rules are both declared and written out.
		if text := problem.Error(); !slices.Contains(found.Errors, text) {
			found.Errors = append(found.Errors, text)
		}
	}
	return found, false
}

// decode reads the document into its versioned type, applies the defaults and the rules declared on the type's fields, and
// converts to the internal type that the other rules work on. Types from elsewhere (snapshots, monitoring) have one version
// only and stay as they are.
func decode(document []byte) (runtime.Object, field.ErrorList, error) {
	object, err := strictly(foreignScheme, document)
	if err == nil || !runtime.IsNotRegisteredError(err) {
		return object, nil, err
	}
	versioned, err := strictly(legacyscheme.Scheme, document)
	if err != nil {
		return nil, nil, err
	}
	legacyscheme.Scheme.Default(versioned)
	declared := legacyscheme.Scheme.Validate(context.Background(), nil, versioned)
	internal, err := legacyscheme.Scheme.UnsafeConvertToVersion(versioned, runtime.InternalGroupVersioner)
	return internal, declared, err
}

func strictly(scheme *runtime.Scheme, document []byte) (runtime.Object, error) {
	object, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode(document, nil, nil)
	return object, err
}
