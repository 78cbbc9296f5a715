package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// schemas writes the schemas of both kinds as kubeconform wants them: one file each, and no field
// that the schema does not name.
func schemas(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, definition := range objects(t, read(t, "crds/fdi.romaconnect.dev.yaml")) {
		version := as[[]any](field(definition, "spec", "versions"))[0]
		schema := as[Object](field(version, "schema", "openAPIV3Schema"))
		strict(schema)
		properties := as[Object](schema["properties"])
		for _, name := range []string{"apiVersion", "kind", "metadata"} {
			properties[name] = Object{}
		}
		content, err := json.Marshal(schema)
		if err != nil {
			t.Fatal(err)
		}
		kind := strings.ToLower(as[string](field(definition, "spec", "names", "kind")))
		if err := os.WriteFile(filepath.Join(folder, kind+".json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func strict(schema any) {
	object := as[Object](schema)
	if properties := as[Object](object["properties"]); properties != nil {
		object["additionalProperties"] = false
		for _, property := range properties {
			strict(property)
		}
	}
	if items := object["items"]; items != nil {
		strict(items)
	}
}

func conform(folder string, files ...string) (string, error) {
	arguments := []string{"tool", "kubeconform", "-strict", "-summary", "-skip", "Secret,Kustomization", "-ignore-filename-pattern", "namereference",
		"-schema-location", folder + "/{{.ResourceKind}}.json"}
	return try("go", append(arguments, files...)...)
}

func TestTheSamplesConformToTheDefinitions(t *testing.T) {
	folder := schemas(t)
	out, err := conform(folder, path("deploy/samples"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "Invalid: 0, Errors: 0") || strings.Contains(out, "Valid: 0,") {
		t.Error(out)
	}
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	text := strings.Replace(read(t, "deploy/samples/groups.yaml"), "desiredState: Running", "desiredState: running", 1)
	if err := os.WriteFile(broken, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := conform(folder, broken); err == nil {
		t.Error("a state that does not exist passes: this test finds nothing")
	}
}
