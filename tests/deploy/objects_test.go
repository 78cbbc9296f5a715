// Package deploy_test checks what is shipped: manifests, chart, image archive, and the permissions
// that they grant.
package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Object is a Kubernetes object as it is written.
type Object = map[string]any

const root = "../.."

func path(parts ...string) string {
	return filepath.Join(append([]string{root}, parts...)...)
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	content, err := os.ReadFile(path(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// try runs a program and gives what it wrote on both streams.
func try(name string, arguments ...string) (string, error) {
	var out, trouble bytes.Buffer
	command := exec.Command(name, arguments...)
	command.Stdout, command.Stderr = &out, &trouble
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(arguments, " "), err, out.String(), trouble.String())
	}
	return out.String(), nil
}

func run(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	out, err := try(name, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tool runs one of the programs that go.mod pins.
func tool(t *testing.T, arguments ...string) string {
	t.Helper()
	return run(t, "go", append([]string{"tool"}, arguments...)...)
}

func kustomize(t *testing.T, folder string) []Object {
	t.Helper()
	return objects(t, tool(t, "kustomize", "build", path("deploy", folder)))
}

func template(t *testing.T, settings ...string) []Object {
	t.Helper()
	arguments := []string{"helm", "template", "fdi-operator", path("deploy/helm/fdi-operator"), "--namespace", "fdi-system"}
	return objects(t, tool(t, append(arguments, settings...)...))
}

func objects(t *testing.T, text string) []Object {
	t.Helper()
	var all []Object
	for _, document := range strings.Split("\n"+text, "\n---") {
		var object Object
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if object != nil {
			all = append(all, object)
		}
	}
	return all
}

func as[T any](value any) T {
	typed, _ := value.(T)
	return typed
}

// field follows a path of names; nil where there is nothing.
func field(value any, names ...string) any {
	for _, name := range names {
		value = as[Object](value)[name]
	}
	return value
}

func id(object Object) string {
	return fmt.Sprintf("%s %v/%v", object["kind"], field(object, "metadata", "namespace"), field(object, "metadata", "name"))
}

func find(t *testing.T, all []Object, kind, name string) Object {
	t.Helper()
	for _, object := range all {
		if object["kind"] == kind && field(object, "metadata", "name") == name {
			return object
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

func having(all []Object, wanted func(Object) bool) []Object {
	var found []Object
	for _, object := range all {
		if wanted(object) {
			found = append(found, object)
		}
	}
	return found
}

func ofKind(kind string) func(Object) bool {
	return func(object Object) bool { return object["kind"] == kind }
}

// same fails unless both are equal, and shows the first difference.
func same(t *testing.T, what string, one, other any) {
	t.Helper()
	if difference := differ("", one, other); difference != "" {
		t.Errorf("%s: %s", what, difference)
	}
}

func differ(at string, one, other any) string {
	left, right := as[Object](one), as[Object](other)
	if left == nil || right == nil {
		if lefts, rights := as[[]any](one), as[[]any](other); len(lefts) == len(rights) && len(lefts) > 0 {
			for index := range lefts {
				if difference := differ(fmt.Sprintf("%s[%d]", at, index), lefts[index], rights[index]); difference != "" {
					return difference
				}
			}
			return ""
		}
		if reflect.DeepEqual(one, other) {
			return ""
		}
		return fmt.Sprintf("at %s: %v, but %v", at, one, other)
	}
	for name := range left {
		if difference := differ(at+"."+name, left[name], right[name]); difference != "" {
			return difference
		}
	}
	for name := range right {
		if _, there := left[name]; !there {
			return fmt.Sprintf("at %s.%s: nothing, but %v", at, name, right[name])
		}
	}
	return ""
}
