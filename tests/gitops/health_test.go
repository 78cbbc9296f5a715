package gitops

import (
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const argo = "../../deploy/gitops/argocd"

var kinds = []string{"FdiTaskGroup", "FdiInstance"}

// customizations is the folder of one kind, as in Argo CD's repository.
func customizations(kind string) string {
	return filepath.Join(argo, "resource_customizations", "fdi.romaconnect.dev", kind)
}

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// The cases are in Argo CD's own format, so that the two folders can be offered to its repository
// as they are.
func TestTheHealthScriptsJudgeEveryCaseAsWritten(t *testing.T) {
	for _, kind := range kinds {
		folder := customizations(kind)
		var file struct {
			Tests []struct {
				HealthStatus health `json:"healthStatus"`
				InputPath    string `json:"inputPath"`
			} `json:"tests"`
		}
		readStrict(t, filepath.Join(folder, "health_test.yaml"), &file)
		script := read(t, filepath.Join(folder, "health.lua"))
		tested := map[string]bool{}
		for _, test := range file.Tests {
			t.Run(kind+"/"+filepath.Base(test.InputPath), func(t *testing.T) {
				var object map[string]any
				readStrict(t, filepath.Join(folder, test.InputPath), &object)
				if said := judge(t, script, object); said != test.HealthStatus {
					t.Errorf("the script says %+v, the case %+v", said, test.HealthStatus)
				}
			})
			tested[filepath.Base(test.InputPath)] = true
		}
		inputs, err := filepath.Glob(filepath.Join(folder, "testdata", "*.yaml"))
		if err != nil || len(inputs) == 0 {
			t.Fatalf("no test data in %s: %v", folder, err)
		}
		for _, input := range inputs {
			if !tested[filepath.Base(input)] {
				t.Errorf("%s is no case of health_test.yaml", input)
			}
		}
	}
}

// Objects that no operator writes must not break the script either: Argo CD shows an application as
// Unknown then.
func TestTheHealthScriptsSurviveOddObjects(t *testing.T) {
	odd := []string{
		`{metadata: {}}`,
		`{metadata: {generation: 1}, status: {}}`,
		`{metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, conditions: []}}`,
		`{metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, conditions: [{}]}}`,
		`{metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, conditions: [{type: Ready}]}}`,
		`{metadata: {generation: 1}, spec: {}, status: {observedGeneration: 1, conditions: [{type: Ready, status: "False"}]}}`,
		`{metadata: {generation: 1}, spec: {suspend: false}, status: {observedGeneration: 1, conditions: [{type: New, status: "True"}]}}`,
	}
	for _, kind := range kinds {
		script := read(t, filepath.Join(customizations(kind), "health.lua"))
		for _, text := range odd {
			var object map[string]any
			if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
				t.Fatal(err)
			}
			if said := judge(t, script, object); said.Status != "Progressing" || said.Message == "" {
				t.Errorf("%s %s is said to be %+v", kind, text, said)
			}
		}
	}
}

func TestTheConfigMapForArgoCarriesTheSameScripts(t *testing.T) {
	config := argoConfig(t)
	for _, kind := range kinds {
		script := read(t, filepath.Join(customizations(kind), "health.lua"))
		if config["resource.customizations.health.fdi.romaconnect.dev_"+kind] != script {
			t.Errorf("argocd-cm.yaml does not carry the health.lua of %s: copy it there", kind)
		}
	}
	for key := range config {
		if key == "resource.customizations.ignoreDifferences.all" {
			t.Errorf("%s: nothing needs to be ignored", key)
		}
	}
}

// argoConfig is the data of the ConfigMap.
func argoConfig(t *testing.T) map[string]string {
	t.Helper()
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(argo, "argocd-cm.yaml"))), &config); err != nil {
		t.Fatal(err)
	}
	return config.Data
}

// judge runs a health script.
func judge(t *testing.T, script string, object map[string]any) health {
	t.Helper()
	var said health
	runLua(t, script, object, &said)
	switch said.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
	default:
		t.Fatalf("Argo CD knows no health %q", said.Status)
	}
	return said
}

// judgeLive is the same for an object as the API server shows it.
func judgeLive(t *testing.T, object *unstructured.Unstructured) health {
	t.Helper()
	return judge(t, read(t, filepath.Join(customizations(object.GetKind()), "health.lua")), object.Object)
}
